//! A restore from whichever of several replicas can give it.

use std::cmp::Reverse;

use super::{Error, ErrorKind, Outcome, Plan, Progress, Request, find_plan, run};

/// Restores from the replica that has the newest state of the target; if that fails, from the next
/// one. The requests differ in their storage only. Says which one it was.
pub fn run_any(requests: &[Request], progress: &dyn Progress) -> Result<(usize, Outcome), Error> {
    if let [only] = requests {
        return run(only, progress).map(|outcome| (0, outcome));
    }
    let mut failures = Vec::new();
    for (index, _) in ranked(requests, &mut failures) {
        match run(&requests[index], progress) {
            Ok(outcome) => return Ok((index, outcome)),
            Err(error) if is_final(&error) => return Err(error),
            Err(error) => failures.push(told(&requests[index], error)),
        }
    }
    Err(worst(failures))
}

/// The plan of the replica that [`run_any`] would take first.
pub fn find_plan_any(requests: &[Request]) -> Result<(usize, Plan), Error> {
    let mut failures = Vec::new();
    match ranked(requests, &mut failures).into_iter().next() {
        Some(best) => Ok(best),
        None => Err(worst(failures)),
    }
}

/// Those that have the target, the newest first, in their own order where they are alike.
fn ranked(requests: &[Request], failures: &mut Vec<Error>) -> Vec<(usize, Plan)> {
    let mut plans = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        match find_plan(&*request.storage, request.target) {
            Ok(plan) => plans.push((index, plan)),
            Err(error) => failures.push(told(request, error)),
        }
    }
    plans.sort_by_key(|(_, plan)| Reverse((plan.timestamp(), plan.txid())));
    plans
}

/// Nothing that another replica could change.
fn is_final(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Refused | ErrorKind::Cancelled => true,
        _ => matches!(error, Error::Output { .. }),
    }
}

fn told(request: &Request, error: Error) -> Error {
    let replica = request.storage.url();
    match error.kind() {
        ErrorKind::NoBackup => tracing::debug!(replica, "no backup here"),
        _ => tracing::warn!(replica, %error, "this replica cannot be used"),
    }
    error
}

/// That there is no backup is said only if all of them say so.
fn worst(mut failures: Vec<Error>) -> Error {
    let told = failures.iter().position(|error| error.kind() != ErrorKind::NoBackup);
    match failures.is_empty() {
        true => Error::NoBackup { replica: String::new() },
        false => failures.swap_remove(told.unwrap_or(0)),
    }
}
