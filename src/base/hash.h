/* hash.h - XXH3 of libxxhash; CRC-32C; SHA-256, with which reference data name bytes. */
#ifndef NC_BASE_HASH_H
#define NC_BASE_HASH_H
#include "base/status.h"
uint64_t nc_hash64(const void *bytes, size_t n, uint64_t seed);
typedef struct nc_hash128 { uint64_t low, high; } nc_hash128;
nc_hash128 nc_hash128_of(const void *bytes, size_t n);
uint32_t nc_crc32c(uint32_t crc, const void *bytes, size_t n);              /* Castagnoli; TFRecord masks it (formats/tfevents.c) */
void nc_sha256(const void *bytes, size_t n, uint8_t out[32]);                /* FIPS 180-4 */
void nc_sha256_hex(const void *bytes, size_t n, char out[65]);
#endif
