//! Where a replica is: what `type`, `url`, `path` and the keys of its storage say together.

use std::path::PathBuf;

use storage::address::{Address, Kind};
use storage::{Options, Url};

use super::absolute;
use super::keys::BACKENDS;
use super::options;
use super::problem::Problem;
use super::section::{Section, Text};
use crate::connect::Replica;

type Result<T> = std::result::Result<T, Problem>;

/// Options that say where a replica is, as its URL does.
const PLACES: [&str; 3] = ["bucket", "host", "webdav-url"];

/// What a file says of one replica.
#[derive(Debug)]
struct Place<'a> {
    section: &'a Section<'a>,
    backend: &'static str,
    path: Option<Text>,
    options: Options,
}

/// Reads where a replica is; `root` has what holds for all of them.
pub fn read(section: &Section<'_>, root: &Section<'_>) -> Result<Replica> {
    let (url, path) = (section.place("url")?, section.place("path")?);
    let backend = match &url {
        Some(url) => backend_of(section, url)?,
        None => backend(section)?.or(backend(root)?).unwrap_or("file"),
    };
    let mut options = options::own(section, backend)?;
    if let Some(url) = &url
        && backend != "nats"
    {
        refuse_beside_url(section, url, path.as_ref(), &options)?;
    }
    if let Some(path) = path.as_ref().filter(|_| backend == "nats") {
        let message = format_args!("{} means nothing to nats storage", section.path("path"));
        let problem = Problem::new(path.line, message);
        section.context.meaningless(problem.hint("give each database a bucket of its own"))?;
    }
    options = options.or(&match url {
        Some(_) => beside_url(root, backend)?,
        None => options::of_all(root, backend, &[])?,
    });
    let place = Place { section, backend, path, options };
    place.check_pairs()?;
    let url = match url {
        Some(url) => url.text.parse().map_err(|error| {
            Problem::new(url.line, format_args!("{}: {error}", section.path("url")))
        })?,
        None => place.url()?,
    };
    let mut options = place.options;
    if let (Some(path), Url::Remote(address)) = (place.path, &url)
        && address.kind == Kind::Sftp
        && address.path.is_empty()
    {
        options.set("path", path.text);
    }
    Ok(Replica { url, options, lease: None })
}

/// What holds for all storage of a kind whose URL names its own place.
pub fn beside_url(root: &Section<'_>, backend: &str) -> Result<Options> {
    options::of_all(root, backend, &PLACES)
}

impl Place<'_> {
    /// The URL that the keys stand for.
    fn url(&self) -> Result<Url> {
        let path = self.path.as_ref().map_or("", |path| &path.text);
        if Url::is_url(path) {
            let message = format_args!("{}: {path:?} is a URL", self.section.path("path"));
            let line = self.path.as_ref().map_or(self.section.line, |path| path.line);
            return Err(Problem::new(line, message).hint("use the key url"));
        }
        let Some(kind) = Kind::named(self.backend) else { return self.file().map(Url::File) };
        let (mut tls, mut user) = (false, None);
        let (host, path) = match kind {
            Kind::Nats => {
                return Err(self.missing("url", "name the server: url: nats://host, bucket: app"));
            }
            Kind::Sftp => {
                user = Some(self.needed("user")?.to_owned());
                // One without a slash begins where a login does, which no URL can say.
                let absolute = if path.starts_with('/') { path } else { "" };
                (self.needed("host")?.to_owned(), absolute.to_owned())
            }
            Kind::WebDav => {
                let url = self.needed("webdav-url")?;
                let (scheme, rest) = url.split_once("://").unwrap_or_default();
                let (host, above) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                if !matches!(scheme, "http" | "https") || host.is_empty() || host.contains('@') {
                    let key = self.section.path("webdav-url");
                    let message =
                        format_args!("{key} must be http://host/path or https://host/path");
                    return Err(Problem::new(self.section.line, message)
                        .hint("a login goes into webdav-username and webdav-password"));
                }
                tls = scheme == "https";
                let below = path.replace('%', "%25");
                let parts = [above.trim_end_matches('/'), below.trim_start_matches('/')];
                (host.to_owned(), parts.join("/"))
            }
            Kind::S3 | Kind::Gs | Kind::Abs | Kind::Oss => {
                let path = path.trim_start_matches('/');
                (self.needed("bucket")?.to_owned(), format!("/{path}"))
            }
        };
        let query = Options::new();
        Ok(Url::Remote(Address { kind, tls, user, password: None, host, path, query }))
    }

    fn file(&self) -> Result<PathBuf> {
        match &self.path {
            Some(path) => absolute(path),
            None => Err(self.missing("url", "say where to replicate to: url: file:///backup/app")),
        }
    }

    fn needed(&self, name: &str) -> Result<&str> {
        let hint = format!("{} storage needs it", self.backend);
        self.options.get(name).ok_or_else(|| self.missing(name, &hint))
    }

    fn check_pairs(&self) -> Result<()> {
        for (one, other) in [("client-cert", "client-key"), ("client-key", "client-cert")] {
            if self.options.get(one).is_some() && self.options.get(other).is_none() {
                return Err(self.missing(other, &format!("{one} and {other} go together")));
            }
        }
        Ok(())
    }

    fn missing(&self, name: &str, hint: &str) -> Problem {
        let message = format_args!("{} is missing", self.section.path(name));
        Problem::new(self.section.line, message).hint(hint)
    }
}

fn refuse_beside_url(
    section: &Section<'_>,
    url: &Text,
    path: Option<&Text>,
    options: &Options,
) -> Result<()> {
    let place = PLACES.into_iter().find(|name| options.get(name).is_some());
    match path.map(|_| "path").or(place) {
        None => Ok(()),
        Some(other) => {
            let (url_key, other) = (section.path("url"), section.path(other));
            let message = format_args!("{url_key} and {other} cannot both be set");
            Err(Problem::new(url.line, message).hint("keep url"))
        }
    }
}

/// The storage that `type` names.
fn backend(section: &Section<'_>) -> Result<Option<&'static str>> {
    let Some(Text { line, text }) = section.text("type")? else { return Ok(None) };
    match BACKENDS.iter().find(|known| **known == text) {
        Some(known) => Ok(Some(known)),
        None => {
            let message = format_args!("{}: {text:?} is not a type", section.path("type"));
            Err(Problem::new(line, message).hint(format_args!("types: {}", BACKENDS.join(", "))))
        }
    }
}

/// The storage that a URL names, whatever `type` says.
fn backend_of(section: &Section<'_>, url: &Text) -> Result<&'static str> {
    backend(section)?;
    if !Url::is_url(&url.text) {
        let message = format_args!("{}: {:?} is not a URL", section.path("url"), url.text);
        return Err(Problem::new(url.line, message)
            .hint("write file:///absolute/path, or use the key path"));
    }
    let scheme = url.text.split(':').next().unwrap_or_default();
    let scheme = if scheme == "webdavs" { "webdav" } else { scheme };
    // An unknown one is told of when the URL is read.
    Ok(BACKENDS.into_iter().find(|known| *known == scheme).unwrap_or("file"))
}
