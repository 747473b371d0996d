//! What brooklet knows about a live SQLite database.
//!
//! Everything here is synchronous and works on a database that another process is writing to:
//! the WAL-index ([`wal_index`]), the WAL itself ([`wal`]), page reads from the database file
//! ([`file`]), and the SQLite connections whose read transactions pin the WAL ([`live`]).
//!
//! One rule stands above all: closing *any* descriptor of a file drops every POSIX lock that this
//! process holds on it. So the database file and its `-shm` are opened once per [`live::Live`] and
//! closed only after its connections are gone.

pub mod error;
pub mod file;
pub mod imprint;
pub mod live;
pub mod memory;
pub mod pinned_view;
mod shm_lock;
pub mod view;
pub mod wal;
pub mod wal_index;
mod write_out;

pub use error::Error;
pub use file::DatabaseFile;
pub use imprint::{Imprint, Looks};
pub use live::{Checkpoint, Live, LiveOptions, Pinned, Placement, Restart};
pub use pinned_view::PinnedView;
pub use view::View;
pub use wal::{Frame, Salts, Wal, WalChecksum};
pub use wal_index::{Tip, WalIndex};

type Result<T> = std::result::Result<T, Error>;
