/* verb_chat.c - a conversation in the terminal: answers stream, ^C stops one, /image and /video put media before the next message. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/speak.h"

static const nc_cli_option options[] = {
    { "system", "TEXT", "what the system message says" },
    NC_SPEAK_OPTIONS,
    { NULL, NULL, NULL },
};

enum { MOST_MEDIA = 64 };

typedef struct chat {
    nc_arena *arena;
    nc_json *messages;
    nc_attachment shown[MOST_MEDIA], next[MOST_MEDIA];   /* of the messages so far; before the next one */
    int shown_count, next_count;
    const char *system;
    bool rich;
} chat;

static atomic_bool stopped;
static void stop(void) { atomic_store(&stopped, true); }

static void start_anew(chat *t)
{
    nc_arena_reset(t->arena);
    t->messages = nc_json_new(t->arena, NC_JSON_ARRAY);
    t->shown_count = t->next_count = 0;
    if (t->system)
        nc_json_append(t->messages, nc_session_message(t->arena, "system", t->system, NULL, 0));
}

static bool say(void *context, nc_str piece)
{
    (void)context;
    fwrite(piece.p, 1, piece.n, stdout);
    fflush(stdout);
    return !atomic_load(&stopped);
}

static void attach(chat *t, const char *path, bool video)
{
    nc_error e = { 0 };
    nc_attachment at;
    while (*path == ' ')
        path++;
    if (t->shown_count + t->next_count == MOST_MEDIA) {
        printf("%d pictures and videos are the most of one conversation; /clear starts a new one\n", MOST_MEDIA);
        return;
    }
    if (!*path || nc_speak_attachment(path, &at, &e) < 0 || at.is_video != video) {
        printf("%s\n", !*path ? "name a file" : e.message[0] ? e.message : at.is_video ? "that is a video: /video" : "that is a picture: /image");
        return;
    }
    at.name = nc_arena_strdup(t->arena, path);
    t->next[t->next_count++] = at;
    printf("%s goes with your next message\n", path);
}

/* True when the line was a command. */
static bool command(chat *t, const char *line, bool *leave)
{
    if (*line != '/')
        return false;
    if (nc_starts_with(line, "/image"))
        attach(t, line + 6, false);
    else if (nc_starts_with(line, "/video"))
        attach(t, line + 6, true);
    else if (!strcmp(line, "/clear")) {
        start_anew(t);
        printf("a new conversation\n");
    } else if (!strcmp(line, "/quit") || !strcmp(line, "/exit"))
        *leave = true;
    else
        printf("%s/image FILE, /video FILE: show something with your next message\n/clear: start anew    /quit: leave (also ^D)    ^C: stop an answer\n", strcmp(line, "/help") ? "no such command\n" : "");
    return true;
}

static int answer(chat *t, nc_session *s, const nc_generation_options *o, const char *line, nc_error *e)
{
    nc_answer a = { 0 };
    nc_attachment at[MOST_MEDIA];
    memcpy(at, t->shown, sizeof *at * (size_t)t->shown_count);
    memcpy(at + t->shown_count, t->next, sizeof *at * (size_t)t->next_count);
    nc_json_append(t->messages, nc_session_message(t->arena, "user", line, t->next, t->next_count));
    memcpy(t->shown, at, sizeof *at * (size_t)(t->shown_count + t->next_count));
    t->shown_count += t->next_count;
    t->next_count = 0;
    atomic_store(&stopped, false);
    nc_cli_interrupt(stop);
    int status = nc_session_ask(s, t->messages, t->shown, t->shown_count, o, say, NULL, &a, e);
    nc_cli_interrupt(NULL);
    if (status == 0)
        nc_json_append(t->messages, nc_session_message(t->arena, "assistant", a.text.p ? a.text.p : "", NULL, 0));
    if (status == 0 && t->rich)
        printf("\n\033[2m%d tokens, %.1f a second%s\033[0m\n", a.new_tokens, a.seconds > 0 ? a.new_tokens / a.seconds : 0, atomic_load(&stopped) ? ", stopped" : "");
    else
        printf("\n");
    nc_buf_free(&a.text);
    return status;
}

static int run(nc_cli *c, nc_error *e)
{
    nc_session *s = NULL;
    nc_generation_options o;
    chat t = { .arena = nc_arena_new(), .system = nc_cli_get(c, "system"), .rich = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) };
    char *line = NULL;
    size_t capacity = 0;
    bool leave = false;
    int status = nc_speak_open(c, c->word[0], &s, &o, e);
    start_anew(&t);
    if (status == 0 && t.rich)
        printf("%s; /help tells what else there is\n", c->word[0]);
    while (status == 0 && !leave) {
        if (t.rich)
            printf("\033[1m> \033[0m");
        fflush(stdout);
        errno = 0;
        ssize_t n = getline(&line, &capacity, stdin);
        if (n < 0)
            break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            line[--n] = 0;
        if (!n || command(&t, line, &leave))
            continue;
        nc_error mistake = { 0 };
        if (answer(&t, s, &o, line, &mistake) < 0) {       /* told, and the conversation begins anew */
            fprintf(stderr, "nunchi: %s\n", mistake.message);
            start_anew(&t);
            if (!t.rich) {
                *e = mistake;
                status = mistake.code;
            }
        }
    }
    free(line);
    nc_session_close(s);
    nc_arena_free(t.arena);
    return status;
}

const nc_verb nc_verb_chat = { "chat", "FOLDER", "a conversation in the terminal", "/image FILE and /video FILE show something with the next message; /clear starts anew; ^C stops an answer; ^D leaves.", options, 1, 1, false, run };
