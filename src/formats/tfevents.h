/* tfevents.h - TensorBoard's event files: append-only records of scalars and texts.
 *
 *   record = u64 length | u32 masked crc32c of the length | payload | u32 masked crc32c of the payload     (TFRecord, little endian)
 *   masked(c) = rotate_right(c, 15) + 0xa282ead8
 *   payload = Event { wall_time 1: double, step 2: int64, file_version 3: string, summary 5: Summary, session_log 7 }
 *
 * Each record is one write to the file, so a killed run leaves at most one cut record, which the next open removes.
 * Source: tensorflow/core/util/event.proto, framework/summary.proto, lib/io/record_writer.cc; tensorboard/plugins/text.
 */
#ifndef NC_FORMATS_TFEVENTS_H
#define NC_FORMATS_TFEVENTS_H
#include "base/str.h"

typedef struct nc_tfevents nc_tfevents;

/* Opens folder (made when absent). resume_step < 0: a new file events.out.tfevents.<seconds>.<host>.<pid>. Otherwise the newest
 * event file there is cut after its last whole record and continued, with a session start at resume_step, by which
 * TensorBoard forgets what an earlier run wrote from that step on; a folder without event files gets a new one. */
int nc_tfevents_open(const char *folder, int64_t resume_step, nc_tfevents **out, nc_error *e);
int nc_tfevents_scalar(nc_tfevents *t, const char *tag, int64_t step, double value, nc_error *e);
int nc_tfevents_text(nc_tfevents *t, const char *tag, int64_t step, nc_str markdown, nc_error *e);
const char *nc_tfevents_path(const nc_tfevents *t);
int nc_tfevents_close(nc_tfevents *t, nc_error *e);                         /* fsyncs and frees; NULL is allowed */
#endif
