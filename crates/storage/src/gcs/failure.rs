//! What the failures of Google Cloud Storage mean.
//! (`cloud.google.com/storage/docs/json_api/v1/status-codes`)

use http::{HeaderMap, StatusCode};

use super::json::Failure;
use crate::http::{self as web, Answer};
use crate::{Error, wire};

/// Reads what the server says, and gives it its meaning. `in_bucket` tells whether the request was
/// about an object, which may be missing in a bucket that is there.
pub(super) async fn read(object: &str, in_bucket: bool, answer: Answer) -> Error {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.message().await;
    meaning(object, in_bucket, status, &headers, text)
}

fn meaning(
    object: &str,
    in_bucket: bool,
    status: StatusCode,
    headers: &HeaderMap,
    text: String,
) -> Error {
    let details = serde_json::from_str::<Failure>(&text).unwrap_or_default().error;
    let reason = match (details.reason(), details.message.as_str()) {
        ("", "") => wire::shortened(text),
        ("", message) => message.to_owned(),
        (word, message) => format!("{word}: {message}"),
    };
    match status {
        StatusCode::NOT_FOUND if !in_bucket || reason.contains("bucket does not exist") => {
            Error::NoBucket { object: object.to_owned(), reason }
        }
        StatusCode::FORBIDDEN if reason.contains("ateLimitExceeded") => {
            Error::Throttled { object: object.to_owned(), reason, after: web::retry_after(headers) }
        }
        status => web::error(object, status, headers, reason),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, in_bucket: bool, text: &str) -> Error {
        let status = StatusCode::from_u16(status).expect("a status");
        meaning("gs://b/o", in_bucket, status, &HeaderMap::new(), text.to_owned())
    }

    #[test]
    fn failures_have_meanings() {
        let json = |word: &str, message: &str| {
            format!(
                r#"{{"error":{{"code":0,"message":"{message}","errors":[{{"reason":"{word}"}}]}}}}"#
            )
        };
        assert!(of(404, true, "No such object: b/o").is_not_found());
        let gone = json("notFound", "The specified bucket does not exist.");
        assert!(matches!(of(404, true, &gone), Error::NoBucket { .. }));
        assert!(matches!(of(404, false, ""), Error::NoBucket { .. }));
        let denied = of(403, true, &json("forbidden", "x has no storage.objects.get access"));
        assert!(matches!(denied, Error::Denied { .. }));
        assert!(denied.to_string().contains("storage.objects.get"), "{denied}");
        let limited = json("userRateLimitExceeded", "slow down");
        assert!(matches!(of(403, true, &limited), Error::Throttled { .. }));
        assert!(matches!(of(412, true, &json("conditionNotMet", "")), Error::Conflict { .. }));
        assert!(of(503, true, &json("backendError", "")).is_passing());
        assert!(matches!(of(416, true, ""), Error::Short { .. }));
    }
}
