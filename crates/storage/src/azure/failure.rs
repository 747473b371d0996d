//! What the failures of Azure mean.
//! (`learn.microsoft.com/rest/api/storageservices/blob-service-error-codes`)

use http::{HeaderMap, StatusCode};

use super::xml::Failure;
use crate::http::{self as web, Answer};
use crate::{Error, wire};

const CODE: &str = "x-ms-error-code";

/// Reads what the server says, and gives it its meaning.
pub(super) async fn read(object: &str, answer: Answer) -> Error {
    let (status, headers) = (answer.status(), answer.headers().clone());
    let text = answer.message().await;
    let mut failure: Failure =
        quick_xml::de::from_str(text.trim_start_matches('\u{feff}')).unwrap_or_default();
    if let Some(code) = headers.get(CODE).and_then(|code| code.to_str().ok()) {
        code.clone_into(&mut failure.code);
    }
    meaning(object, status, &headers, &failure)
}

/// By its code, else by its status.
fn meaning(object: &str, status: StatusCode, headers: &HeaderMap, failure: &Failure) -> Error {
    // The lines after the first are the request's number and time.
    let message = failure.message.lines().next().unwrap_or_default();
    let detail = failure.authentication_error_detail.as_str();
    let said = [failure.code.as_str(), message, detail];
    let said: Vec<&str> = said.into_iter().filter(|text| !text.is_empty()).collect();
    let reason = wire::shortened(said.join(": "));
    let object = object.to_owned();
    match failure.code.as_str() {
        "BlobNotFound" => Error::NotFound { object },
        "ContainerNotFound" | "ContainerBeingDeleted" | "ContainerDisabled" => {
            Error::NoBucket { object, reason }
        }
        "BlobAlreadyExists" | "ConditionNotMet" | "TargetConditionNotMet" => {
            Error::Conflict { object }
        }
        "InvalidRange" => Error::Short { object, offset: 0, wanted: 0 },
        "AuthenticationFailed" | "InvalidAuthenticationInfo" | "AuthorizationFailure"
            if is_over(detail) || is_over(message) =>
        {
            Error::Expired { object, reason }
        }
        "AuthenticationFailed" if detail.contains("date header") => Error::Denied {
            object,
            reason: format!("{reason} (is the clock of this machine right?)"),
        },
        "AuthenticationFailed"
        | "AuthorizationFailure"
        | "InvalidAuthenticationInfo"
        | "PublicAccessNotPermitted"
        | "BlobImmutableDueToPolicy"
        | "LeaseIdMissing"
        | "LeaseAlreadyPresent"
        | "SnapshotsPresent" => Error::Denied { object, reason },
        "ServerBusy" | "TooManyRequests" => {
            let after = web::retry_after(headers);
            Error::Throttled { object, reason, after }
        }
        "InternalError" | "OperationTimedOut" | "AccountBeingCreated" => {
            Error::Unreachable { object, reason }
        }
        _ => web::error(&object, status, headers, reason),
    }
}

/// Whether what is said is that a token or a signature was good once.
fn is_over(said: &str) -> bool {
    said.contains("not valid in the specified time frame")
        || said.contains("Lifetime validation failed")
        || said.contains("is expired")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: &str, detail: &str) -> Error {
        let failure = Failure {
            code: code.into(),
            message: "What happened.\nRequestId:x".into(),
            authentication_error_detail: detail.into(),
        };
        let status = StatusCode::from_u16(status).expect("a status");
        meaning("abs://a@b/o", status, &HeaderMap::new(), &failure)
    }

    #[test]
    fn failures_have_meanings() {
        assert!(of(404, "BlobNotFound", "").is_not_found());
        assert!(of(404, "", "").is_not_found());
        assert!(matches!(of(404, "ContainerNotFound", ""), Error::NoBucket { .. }));
        for code in ["BlobAlreadyExists", "ConditionNotMet"] {
            assert!(matches!(of(409, code, ""), Error::Conflict { .. }), "{code}");
        }
        let over = "Signature not valid in the specified time frame: Start [..] - Expiry [..]";
        assert!(matches!(of(403, "AuthenticationFailed", over), Error::Expired { .. }));
        let lifetime = "Lifetime validation failed. The token is expired.";
        assert!(matches!(of(401, "InvalidAuthenticationInfo", lifetime), Error::Expired { .. }));
        for code in ["AuthenticationFailed", "AuthorizationPermissionMismatch", "AccountIsDisabled"]
        {
            assert!(matches!(of(403, code, ""), Error::Denied { .. }), "{code}");
        }
        let skewed = of(403, "AuthenticationFailed", "Request date header too old: x").to_string();
        assert!(skewed.contains("clock") && !skewed.contains("RequestId"), "{skewed}");
        assert!(matches!(of(409, "BlobImmutableDueToPolicy", ""), Error::Denied { .. }));
        assert!(matches!(of(503, "ServerBusy", ""), Error::Throttled { .. }));
        assert!(of(500, "OperationTimedOut", "").is_passing());
    }
}
