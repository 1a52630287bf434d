/* `boxrelay run --once`: publishes what was committed before its start, stores what was in the topics then, and ends.
 * Thread: main. */
#ifndef APP_ONCE_H
#define APP_ONCE_H

#include <stdint.h>

#include "say.h"
#include "settings.h"

enum { ONCE_LOOK_MS = 50, ONCE_TIMEOUT_MS = 60000, ONCE_STOP_MS = 10000, ONCE_ABANDON_MS = 2000 };

/* EXIT_OK: all published and stored. EXIT_TRY_AGAIN: not in time; EXIT_FAILED, EXIT_REFUSED: it cannot go on by itself.
 */
enum exit_code once_run(struct settings *settings, int64_t timeout_ms);

#endif
