//! The asynchronous edge: clients of servers run here, everybody else waits.

use std::sync::LazyLock;

use tokio::runtime::{Builder, Runtime};

/// Signing and hashing need more than one.
const WORKERS: usize = 2;

static RUNTIME: LazyLock<Option<Runtime>> = LazyLock::new(|| {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(WORKERS).thread_name("storage").enable_all().build().ok()
});

/// Waits for what a server does. Begins the runtime at its first use, so that a process without
/// servers has none.
pub(crate) fn block_on<T>(future: impl Future<Output = crate::Result<T>>) -> crate::Result<T> {
    match &*RUNTIME {
        Some(runtime) => runtime.block_on(future),
        None => Err(crate::Error::Io {
            object: "storage".into(),
            source: std::io::Error::other("the system gives us no more threads"),
        }),
    }
}
