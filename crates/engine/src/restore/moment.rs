//! Moments in messages.

use ltx::Timestamp;

/// RFC 3339 in UTC with milliseconds.
pub(super) fn text(moment: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(moment.as_millis())
        .map_or_else(|_| format!("{} ms", moment.as_millis()), |moment| format!("{moment:.3}"))
}
