//! What it means that a server refuses.

use http::{HeaderMap, StatusCode};

use super::xml::{self, Failure};
use crate::http::{self as web, Answer};
use crate::{Error, Result, wire};

/// What a server says about a failure, and the text as it came.
pub(crate) async fn read_failure(answer: Answer) -> (Failure, String) {
    let text = answer.message().await;
    let failure: Failure = quick_xml::de::from_str(&text).unwrap_or_default();
    (failure, text)
}

/// Whether an upload in parts is complete: a success may still turn out to be a failure while the
/// server puts the parts together.
pub(crate) async fn finished(object: &str, answer: Answer) -> Result<()> {
    let text = answer.text().await?;
    if text.contains("<Error>") {
        let failure: Failure = quick_xml::de::from_str(&text).unwrap_or_default();
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Err(meaning(object, status, &HeaderMap::new(), &failure, text));
    }
    wire::from_xml_of::<xml::Completed>(object, xml::COMPLETED, &text).map(|_| ())
}

/// What a code means that stands in an answer about several objects.
pub(crate) fn meaning_of_code(object: &str, code: &str, message: &str) -> Error {
    let failure = xml::Failure { code: code.to_owned(), message: message.to_owned(), region: None };
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    meaning(object, status, &HeaderMap::new(), &failure, String::new())
}

/// What a failure means, by its code or else by its status.
pub(crate) fn meaning(
    object: &str,
    status: StatusCode,
    headers: &HeaderMap,
    failure: &Failure,
    text: String,
) -> Error {
    let reason = match (failure.code.as_str(), failure.message.as_str()) {
        ("", _) => wire::shortened(text),
        (code, "") => code.to_owned(),
        (code, message) => format!("{code}: {message}"),
    };
    let object = object.to_owned();
    match failure.code.as_str() {
        "NoSuchKey" => Error::NotFound { object },
        "NoSuchBucket" => Error::NoBucket { object, reason },
        "ExpiredToken"
        | "TokenRefreshRequired"
        | "ExpiredTokenException"
        | "SecurityTokenExpired" => Error::Expired { object, reason },
        "AccessDenied"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "InvalidSecurityToken"
        | "AllAccessDisabled"
        | "AccountProblem"
        | "UserDisable"
        | "InvalidObjectState" => Error::Denied { object, reason },
        "RequestTimeTooSkewed" => Error::Denied {
            object,
            reason: format!("{reason} (is the clock of this machine right?)"),
        },
        "SlowDown"
        | "ServiceUnavailable"
        | "TooManyRequests"
        | "RequestLimitExceeded"
        | "QpsLimitExceeded"
        | "DownloadTrafficRateLimitExceeded"
        | "UploadTrafficRateLimitExceeded"
        | "OperationAborted" => throttled(object, headers, reason),
        "RequestTimeout" | "InternalError" | "RequestCanceled" => {
            Error::Unreachable { object, reason }
        }
        "PreconditionFailed" | "ConditionalRequestConflict" | "FileAlreadyExists" => {
            Error::Conflict { object }
        }
        _ => web::error(&object, status, headers, reason),
    }
}

fn throttled(object: String, headers: &HeaderMap, reason: String) -> Error {
    match web::error(&object, StatusCode::TOO_MANY_REQUESTS, headers, reason) {
        Error::Throttled { after, reason, .. } => {
            Error::Throttled { object, reason: reason.replacen("HTTP 429: ", "", 1), after }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_meanings() {
        let of = |code: &str| meaning_of_code("o", code, "why");
        assert!(of("NoSuchKey").is_not_found());
        assert!(matches!(of("NoSuchBucket"), Error::NoBucket { .. }));
        for code in ["ExpiredToken", "SecurityTokenExpired"] {
            assert!(matches!(of(code), Error::Expired { .. }), "{code}");
        }
        for code in ["AccessDenied", "InvalidAccessKeyId", "UserDisable"] {
            assert!(matches!(of(code), Error::Denied { .. }), "{code}");
        }
        for code in ["SlowDown", "QpsLimitExceeded"] {
            assert!(matches!(of(code), Error::Throttled { .. }), "{code}");
        }
        assert!(matches!(of("FileAlreadyExists"), Error::Conflict { .. }));
        assert_eq!(of("SlowDown").to_string(), "o: too many requests: SlowDown: why");
    }
}
