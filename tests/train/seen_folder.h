/* seen_folder.h - a folder with pictures, a video and a ShareGPT dataset "seen" (LLaMA-Factory's LLaVA samples have that form), a recipe over them, and runs of it. */
#ifndef TESTS_TRAIN_SEEN_FOLDER_H
#define TESTS_TRAIN_SEEN_FOLDER_H
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "media/video.h"
#include "train/train.h"

#define MODEL "tests/golden/models/qwen2_5_vl"
static char folder[64], recipe[100];

static void put(const char *name, const char *text)
{
    char path[160];
    nc_error e = { 0 };
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(nc_file_write(path, text, strlen(text), &e), 0);
}

/* a.png and b.png of different sizes, c.mp4, and the dataset's samples as JSON. */
static int make_seen(const char *data, const char *text)
{
    static const char info[] = "{\"seen\": {\"file_name\": \"seen.json\", \"formatting\": \"sharegpt\", \"columns\": {\"messages\": \"messages\", \"images\": \"images\", \"videos\": \"videos\"}, "
                               "\"tags\": {\"role_tag\": \"role\", \"content_tag\": \"content\", \"user_tag\": \"user\", \"assistant_tag\": \"assistant\"}}}";
    char path[160];
    nc_error e = { 0 };
    nc_image frame[6] = { { 0 } };
    nc_log_setup(NC_LOG_SILENT, false);
    strcpy(folder, "/tmp/nunchi-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(recipe, sizeof recipe, "%s/r.yaml", folder);
    put("dataset_info.json", info);
    put("seen.json", data);
    put("r.yaml", text);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%c.png", folder, 'a' + i);
        if (nc_file_copy(i ? MODEL "/image2.png" : MODEL "/image.png", path, &e) < 0)
            return -1;
    }
    for (int i = 0; i < 6; i++) {
        if (nc_image_new(48, 32, 3, &frame[i], &e) < 0)
            return -1;
        for (size_t j = 0; j < nc_image_bytes(&frame[i]); j++)
            frame[i].pixels[j] = (uint8_t)(j * 5 + (size_t)i * 40);
    }
    snprintf(path, sizeof path, "%s/c.mp4", folder);
    int status = nc_video_write(path, frame, 6, 3, &e);
    for (int i = 0; i < 6; i++)
        nc_image_free(&frame[i]);
    return status;
}

static int remove_folder(void **state)
{
    nc_error e = { 0 };
    (void)state;
    return nc_remove_tree(folder, &e);
}

static int try_train(const char *out, const char *const *more, nc_train_report *r, nc_error *e)
{
    char place[160], data[160];
    char *list[8] = { place, data };
    int n = 2;
    snprintf(place, sizeof place, "output_dir=%s/%s", folder, out);
    snprintf(data, sizeof data, "dataset_dir=%s", folder);
    for (; more && *more; more++)
        list[n++] = (char *)(uintptr_t)*more;
    return nc_train(recipe, list, n, r, e);
}

static nc_train_report train(const char *out, const char *const *more)
{
    nc_train_report r;
    nc_error e = { 0 };
    if (try_train(out, more, &r, &e) < 0)
        fail_msg("%s", e.message);
    return r;
}
#endif
