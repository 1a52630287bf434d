#include "cleanup.h"

#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "pg/clean.h"
#include "pg/migrate.h"
#include "service_internal.h"

static int64_t clamp(int64_t ms, int64_t max)
{
    return ms < CLEANUP_LOOK_MS_MIN ? CLEANUP_LOOK_MS_MIN : ms > max ? max : ms;
}

static int64_t look_ms(const struct service_stream *slot)
{
    int64_t every_ms = clamp(slot->worker->options.retention_ms / CLEANUP_LOOKS, CLEANUP_LOOK_MS_MAX);
    if (slot->cleanup.later == 0)
        return every_ms;
    /* Soon again, but readers of the slot wait behind who waits for its lock: so not too often. */
    int64_t later_ms = (int64_t)CLEANUP_LOOK_MS_MIN << (slot->cleanup.later - 1 < 8 ? slot->cleanup.later - 1 : 8);
    return clamp(later_ms, every_ms > CLEANUP_LATER_MS_MAX ? every_ms : CLEANUP_LATER_MS_MAX);
}

/* A lock that is missed once is nothing; one missed twice, or rows that wait, are told of. */
static void log_held(struct service_stream *slot, const struct clean_report *report)
{
    struct cleanup *cleanup = &slot->cleanup;
    bool held = report->held_ms >= 0 && (report->step != CLEAN_LATER || cleanup->later > 1);
    if (held && !cleanup->held_logged)
        log_warn("cleaning is held back", LOG_STR("stream", slot->stream.name), LOG_STR("reason", report->held_reason),
                 LOG_STR("held_by", report->held_by[0] ? report->held_by : NULL),
                 LOG_INT("seconds", report->held_ms / 1000), LOG_STR("hint", clean_hint(report->held_reason)));
    else if (report->held_ms < 0 && cleanup->held_logged)
        log_info("cleaning goes on", LOG_STR("stream", slot->stream.name));
    cleanup->held_logged = report->held_ms >= 0 && (held || cleanup->held_logged);
}

static void log_size(struct service_stream *slot, const struct outbox_cleanup_view *view)
{
    if (view->size_alarm && !slot->cleanup.size_logged)
        log_warn("the outbox is larger than its size_alarm", LOG_STR("stream", slot->stream.name),
                 LOG_INT("bytes", view->size_bytes), LOG_INT("size_alarm", slot->worker->options.size_alarm_bytes),
                 LOG_STR("hint", "see what holds it in boxrelay status; a shorter retention makes it smaller"));
    slot->cleanup.size_logged = view->size_alarm;
}

static void note_report(struct service_stream *slot, const struct clean_report *report)
{
    struct outbox_cleanup_view view = {
        .looked_ms = clock_monotonic_ms(),
        .size_bytes = report->size_bytes,
        .size_alarm = report->size_bytes > slot->worker->options.size_alarm_bytes,
        .oldest_age_ms = report->oldest_age_ms,
        .held_ms = report->held_ms,
    };
    memcpy(view.held_reason, report->held_reason, sizeof view.held_reason);
    memcpy(view.held_by, report->held_by, sizeof view.held_by);
    view_cleanup(&slot->worker->view, &view);
    log_held(slot, report);
    log_size(slot, &view);
}

static enum error_class clean_stream(struct session *session, struct service_stream *slot, struct error *error)
{
    struct clean_report report;
    for (int steps = 0; steps < CLEANUP_STEPS_MAX; steps++) {
        if (clean_take_step(session, &slot->stream.uuid, slot->worker->options.retention_ms, &report, error))
            return error->class;
        if (report.step == CLEAN_EMPTIED)
            view_slot_emptied(&slot->worker->view);
        if (report.step == CLEAN_TURNED || report.step == CLEAN_EMPTIED)
            log_info(report.step == CLEAN_TURNED ? "slot closed, new rows go into the next" : "slot emptied",
                     LOG_STR("stream", slot->stream.name), LOG_INT("slot", report.slot));
        if (report.step != CLEAN_NOTHING && report.step != CLEAN_LATER)
            continue;
        slot->cleanup.later = report.step == CLEAN_LATER ? slot->cleanup.later + 1 : 0;
        note_report(slot, &report);
        break;
    }
    return ERROR_NONE;
}

static void log_failure(struct service_stream *slot, const struct error *error)
{
    const char *code = error->class ? error->code : "";
    if (error->class && strcmp(slot->cleanup.error_logged, code) != 0)
        log_warn("published rows could not be cleaned", LOG_STR("stream", slot->stream.name), LOG_OF_ERROR(error));
    snprintf(slot->cleanup.error_logged, sizeof slot->cleanup.error_logged, "%s", code);
}

static bool may_clean(struct service_stream *slot)
{
    bool refused, may = view_may_clean(&slot->worker->view, &refused);
    if (refused && !slot->cleanup.refused_logged)
        log_warn("published rows are kept while the stream is refused", LOG_STR("stream", slot->stream.name),
                 LOG_STR("hint", "cleaning goes on after the operator's choice"));
    slot->cleanup.refused_logged = refused;
    return may;
}

static enum error_class look_at(struct outbox_service *service, struct session *session, struct service_stream *slot,
                                struct error *error)
{
    pthread_mutex_lock(&service->lock);
    bool leads = slot->leads;
    pthread_mutex_unlock(&service->lock);
    if (!leads || clock_monotonic_ms() < slot->cleanup.due_ms || !may_clean(slot))
        return ERROR_NONE;
    struct error failure = {.class = ERROR_NONE};
    enum error_class class = clean_stream(session, slot, &failure);
    slot->cleanup.due_ms = clock_monotonic_ms() + look_ms(slot);
    if (class == ERROR_RECONNECT) {
        *error = failure;
        return class;
    }
    log_failure(slot, &failure);
    return ERROR_NONE;
}

static void log_missing(void)
{
    size_t count;
    const struct migration *all = migrations(&count);
    for (size_t i = 0; i < count; i++)
        if (all[i].version == CLEAN_SCHEMA)
            log_warn("published rows are not cleaned before a migration is applied", LOG_STR("migration", all[i].file),
                     LOG_STR("hint", "run boxrelay migrate up, or the migrations in sql/ with your own runner"));
}

enum error_class cleanup_look(struct outbox_service *service, struct session *session, struct error *error)
{
    if (service->view.schema_version < CLEAN_SCHEMA) {
        if (!service->cleanup_missing_logged)
            log_missing();
        service->cleanup_missing_logged = true;
        return ERROR_NONE;
    }
    for (size_t i = 0; i < service->stream_count; i++)
        if (look_at(service, session, &service->streams[i], error))
            return error->class;
    return ERROR_NONE;
}
