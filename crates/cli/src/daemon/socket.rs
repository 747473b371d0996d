//! The control socket's file: made for its owner alone, and never taken from a living daemon.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::process::umask;

use crate::config::Socket;

/// A socket that is listened at. Its file goes with it.
#[derive(Debug)]
pub struct Bound {
    listener: UnixListener,
    place: Place,
}

/// The file, by what tells it from another one of the same name.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Bound {
    /// Listens at the socket's path. No other thread may make files meanwhile.
    pub fn at(socket: &Socket) -> io::Result<Bound> {
        let path = &socket.path;
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        // Two that start at once must not both take the place of a third that died.
        let folder = File::open(folder.unwrap_or(Path::new(".")))?;
        flock(&folder, FlockOperation::LockExclusive)?;
        clear(path)?;
        let mask = umask(rustix::fs::Mode::from_raw_mode(0o177));
        let listener = UnixListener::bind(path);
        umask(mask);
        let listener = listener?;
        let place = Place { path: path.clone(), identity: identity(path) };
        fs::set_permissions(path, Permissions::from_mode(socket.mode))?;
        listener.set_nonblocking(true)?;
        Ok(Bound { listener, place })
    }

    /// The listener, and the file for as long as that is served.
    pub fn into_parts(self) -> (UnixListener, Place) {
        (self.listener, self.place)
    }
}

/// Removes what a daemon left that died.
fn clear(path: &Path) -> io::Result<()> {
    let file = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    let refused = |why: &str| Err(io::Error::new(io::ErrorKind::AddrInUse, why));
    if !file.file_type().is_socket() {
        return refused("there is a file that is no socket");
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path),
        Err(error) => Err(error),
        Ok(_) => refused("another daemon listens there"),
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

impl Place {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(path: PathBuf) -> Socket {
        Socket { enabled: true, path, mode: 0o600 }
    }

    #[test]
    fn it_is_for_its_owner_and_goes_with_the_daemon() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let bound = Bound::at(&socket(path.clone())).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(bound);
        assert!(!path.exists());
        let wider = Socket { mode: 0o660, ..socket(path.clone()) };
        let _bound = Bound::at(&wider).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o660);
    }

    #[test]
    fn a_dead_daemons_is_replaced_and_a_living_ones_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // A listener that is dropped leaves its file behind, as one that is killed does.
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let first = Bound::at(&socket(path.clone())).unwrap();
        let error = Bound::at(&socket(path.clone())).unwrap_err();
        assert_eq!(error.to_string(), "another daemon listens there");
        assert!(UnixStream::connect(&path).is_ok());
        drop(first);
    }

    #[test]
    fn what_is_no_socket_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        fs::write(&path, "precious").unwrap();
        assert!(Bound::at(&socket(path.clone())).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[test]
    fn the_file_of_a_successor_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let first = Bound::at(&socket(path.clone())).unwrap();
        fs::rename(&path, folder.path().join("away")).unwrap();
        let second = Bound::at(&socket(path.clone())).unwrap();
        drop(first);
        assert!(path.exists());
        drop(second);
    }
}
