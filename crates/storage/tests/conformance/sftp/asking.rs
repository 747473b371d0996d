//! A server that asks for a password rather than takes one, and does nothing else.

use std::borrow::Cow;
use std::sync::Arc;

use russh::keys::key::safe_rng;
use russh::keys::{Algorithm, PrivateKey};
use russh::server::{Auth, Config, Handler, Response, run_stream};
use russh::{MethodKind, MethodSet};

/// Asks a riddle, too, to which it wants no answer.
struct Asking(String);

/// Runs one, and tells where: `127.0.0.1:<port>`.
pub(super) fn serve(password: &str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("its address").to_string();
    listener.set_nonblocking(true).expect("a listener for tokio");
    let password = password.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            let config = Arc::new(config());
            while let Ok((stream, _)) = listener.accept().await {
                let session = run_stream(Arc::clone(&config), stream, Asking(password.clone()));
                if let Ok(session) = session.await {
                    tokio::spawn(session);
                }
            }
        });
    });
    host
}

fn config() -> Config {
    let key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key");
    Config {
        methods: MethodSet::from([MethodKind::KeyboardInteractive].as_slice()),
        auth_rejection_time: std::time::Duration::ZERO,
        keys: vec![key],
        ..Config::default()
    }
}

impl Handler for Asking {
    type Error = russh::Error;

    async fn auth_keyboard_interactive<'a>(
        &'a mut self,
        _user: &str,
        _submethods: &str,
        response: Option<Response<'a>>,
    ) -> Result<Auth, russh::Error> {
        let Some(answers) = response else {
            let prompts = vec![("Password: ".into(), false), ("Riddle: ".into(), true)];
            return Ok(Auth::Partial {
                name: "".into(),
                instructions: "".into(),
                prompts: Cow::Owned(prompts),
            });
        };
        let answers: Vec<_> = answers.collect();
        Ok(match answers.as_slice() {
            [password, riddle] if *password == self.0 && riddle.is_empty() => Auth::Accept,
            _ => Auth::reject(),
        })
    }
}
