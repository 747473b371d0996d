//! The server, by one connection that all share and that is made anew when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::connection::Connection;
use super::known::Known;
use super::login::Login;
use super::place::Place;
use crate::{Address, Environment, Error, Options, Result};

/// A server, and how we get in.
#[derive(Debug)]
pub(super) struct Server {
    /// The replica, for messages.
    object: String,
    place: Place,
    options: Options,
    environment: Environment,
    login: Login,
    warned: AtomicBool,
    link: Mutex<Link>,
}

#[derive(Debug, Default)]
struct Link {
    current: Option<Arc<Connection>>,
    /// The last attempt in vain, and when it ended.
    failure: Option<(Instant, Error)>,
}

impl Server {
    pub(super) fn new(
        address: &Address,
        place: &Place,
        options: &Options,
        environment: &Environment,
    ) -> Server {
        Server {
            object: address.to_string(),
            login: Login::of(&place.user, address, options, environment),
            place: place.clone(),
            options: options.clone(),
            environment: environment.clone(),
            warned: AtomicBool::new(false),
            link: Mutex::default(),
        }
    }

    /// The connection. Who waits while another tries in vain to make one has tried, too.
    pub(super) async fn connection(&self) -> Result<Arc<Connection>> {
        let began = Instant::now();
        let mut link = self.link.lock().await;
        if let Some(current) = link.current.as_ref().filter(|it| it.is_alive()) {
            return Ok(Arc::clone(current));
        }
        link.current = None;
        let failure = link.failure.as_ref().filter(|(at, _)| *at >= began);
        if let Some(failure) = failure.and_then(|(_, failure)| again(failure)) {
            return Err(failure);
        }
        match self.connect().await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                *link = Link { current: Some(Arc::clone(&connection)), failure: None };
                Ok(connection)
            }
            Err(failure) => {
                link.failure = again(&failure).map(|failure| (Instant::now(), failure));
                Err(failure)
            }
        }
    }

    /// The connection, if there is one now.
    pub(super) async fn living(&self) -> Option<Arc<Connection>> {
        self.link.lock().await.current.clone().filter(|it| it.is_alive())
    }

    async fn connect(&self) -> Result<Connection> {
        let known = Known::of(&self.place.known_as(), &self.options, &self.environment)?;
        let is_first = !self.warned.swap(true, Ordering::Relaxed);
        Connection::open(&self.object, &self.place, &known, &self.login, is_first).await
    }
}

/// The same failure for somebody else, where it is about the server.
fn again(failure: &Error) -> Option<Error> {
    match failure {
        Error::Denied { object, reason } => {
            Some(Error::Denied { object: object.clone(), reason: reason.clone() })
        }
        Error::Unreachable { object, reason } => {
            Some(Error::Unreachable { object: object.clone(), reason: reason.clone() })
        }
        _ => None,
    }
}
