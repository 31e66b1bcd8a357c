/* amx_model.h - a scalar model of the tile instructions, for tests that compile a kernel file on it. Include it before the kernel file, under its target.
 *
 * Model (Intel SDM vol. 2): LDTILECFG gives each tile rows and bytes a row; TILELOADD reads its rows and zeroes the rest; TDPBF16PS adds, for each
 * row of A, each pair k and each column, the two products of the pair to the f32 sum, TDPBSSD the four products of a four of bytes to the int32 sum.
 * Loads and stores outside the configured rows do not happen.
 */
#ifndef NC_TESTS_AMX_MODEL_H
#define NC_TESTS_AMX_MODEL_H

static _Thread_local struct { int rows, bytes; char data[16][64]; } tiles[8];
static _Thread_local int configured_tiles;

static void model_config(const void *c)
{
    const uint8_t *b = c;
    assert_int_equal(b[0], 1);
    for (int i = 0; i < 8; i++) {
        uint16_t bytes;
        memcpy(&bytes, b + 16 + 2 * i, 2);
        tiles[i].rows = b[48 + i];
        tiles[i].bytes = bytes;
        assert_true(tiles[i].rows >= 1 && tiles[i].rows <= 16 && bytes <= 64 && bytes % 4 == 0);
        memset(tiles[i].data, 0, sizeof tiles[i].data);
    }
    configured_tiles = 1;
}

static __attribute__((unused)) void model_release(void) { configured_tiles = 0; }

static void model_load(int t, const void *p, int64_t stride)
{
    assert_true(configured_tiles);
    memset(tiles[t].data, 0, sizeof tiles[t].data);
    for (int r = 0; r < tiles[t].rows; r++)
        memcpy(tiles[t].data[r], (const char *)p + r * stride, (size_t)tiles[t].bytes);
}

static void model_store(int t, void *p, int64_t stride)
{
    assert_true(configured_tiles);
    for (int r = 0; r < tiles[t].rows; r++)
        memcpy((char *)p + r * stride, tiles[t].data[r], (size_t)tiles[t].bytes);
}

static void model_zero(int t)
{
    assert_true(configured_tiles);
    memset(tiles[t].data, 0, sizeof tiles[t].data);
}

static __attribute__((unused)) void model_dot(int c, int a, int b)
{
    assert_true(configured_tiles && tiles[c].rows == tiles[a].rows && tiles[a].bytes / 4 == tiles[b].rows && tiles[c].bytes == tiles[b].bytes);
    for (int m = 0; m < tiles[c].rows; m++)
        for (int k = 0; k < tiles[a].bytes / 4; k++)
            for (int n = 0; n < tiles[c].bytes / 4; n++) {
                uint16_t x[2], y[2];
                float sum;
                memcpy(x, tiles[a].data[m] + 4 * k, 4);
                memcpy(y, tiles[b].data[k] + 4 * n, 4);
                memcpy(&sum, tiles[c].data[m] + 4 * n, 4);
                sum += nc_bf16_to_f32(x[0]) * nc_bf16_to_f32(y[0]);
                sum += nc_bf16_to_f32(x[1]) * nc_bf16_to_f32(y[1]);
                memcpy(tiles[c].data[m] + 4 * n, &sum, 4);
            }
}

static __attribute__((unused)) void model_dot_int8(int c, int a, int b)
{
    assert_true(configured_tiles && tiles[c].rows == tiles[a].rows && tiles[a].bytes / 4 == tiles[b].rows && tiles[c].bytes == tiles[b].bytes);
    for (int m = 0; m < tiles[c].rows; m++)
        for (int n = 0; n < tiles[c].bytes / 4; n++) {
            int32_t sum;
            memcpy(&sum, tiles[c].data[m] + 4 * n, 4);
            for (int k = 0; k < tiles[a].bytes; k++)
                sum += (int8_t)tiles[a].data[m][k] * (int8_t)tiles[b].data[k / 4][4 * n + k % 4];
            memcpy(tiles[c].data[m] + 4 * n, &sum, 4);
        }
}

#define NC_TILE_MODEL
#define tile_config(c) model_config(&c)
#define tile_release() model_release()
#define tile_load(t, p, stride) model_load(t, p, stride)
#define tile_stream(t, p, stride) model_load(t, p, stride)
#define tile_zero(t) model_zero(t)
#define tile_store(t, p, stride) model_store(t, p, stride)
#define tile_dot(c, a, b) model_dot(c, a, b)
#define tile_dot_int8(c, a, b) model_dot_int8(c, a, b)
#endif
