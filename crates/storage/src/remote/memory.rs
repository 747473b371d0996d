//! How much may be on its way to servers at once, over all uploads of the process.

use tokio::sync::{Semaphore, SemaphorePermit};

const KIB: usize = 1024;
/// KiB for all.
const ALL: usize = 40 * KIB;

static LEFT: Semaphore = Semaphore::const_new(ALL);

/// Waits until there is room for so many bytes; they are given back with the permit. More than
/// there will ever be waits for all of it.
pub(super) async fn take(bytes: usize) -> Option<SemaphorePermit<'static>> {
    let kib = bytes.div_ceil(KIB).min(ALL);
    LEFT.acquire_many(u32::try_from(kib).unwrap_or(u32::MAX)).await.ok()
}
