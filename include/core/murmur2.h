/*
 * The hash by which Kafka's clients spread keys over partitions (org.apache.kafka.common.utils.Utils.murmur2): here for
 * the lanes of an inbox, whose numbers are stored, so that it may never change. Pure.
 */
#ifndef CORE_MURMUR2_H
#define CORE_MURMUR2_H

#include <stddef.h>
#include <stdint.h>

uint32_t murmur2(const void *bytes, size_t size);

#endif
