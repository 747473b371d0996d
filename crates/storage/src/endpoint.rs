//! Where a server is, as an option such as `endpoint` says it.

use http::Uri;
use http::uri::Authority;

use crate::{Error, Result};

/// Scheme and host of an endpoint. Without a scheme it is `https`, but for hosts that are near.
pub(crate) fn split(endpoint: &str) -> Result<(&'static str, String)> {
    let unusable = |reason: String| Error::Unsupported { url: "endpoint".into(), reason };
    let (scheme, rest) = match endpoint.split_once("://") {
        Some(("http", rest)) => ("http", rest),
        Some(("https", rest)) => ("https", rest),
        Some((scheme, _)) => return Err(unusable(format!("{scheme}: is neither http nor https"))),
        None if is_near(endpoint) => ("http", endpoint),
        None => ("https", endpoint),
    };
    let host = rest.trim_end_matches('/');
    match host.parse::<Authority>() {
        Ok(authority) if !host.contains('@') => Ok((scheme, authority.to_string())),
        _ => Err(unusable(format!("{host:?} is no host name"))),
    }
}

/// Scheme, host and the beginning of the path, without a slash at its end. Without a scheme it is
/// `https`, but for hosts that are near.
pub(crate) fn base(option: &str, text: &str) -> Result<String> {
    let unusable = |reason: String| Error::Unsupported { url: option.to_owned(), reason };
    let base = match text.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => {
            format!("{scheme}://{}", rest.trim_end_matches('/'))
        }
        Some((scheme, _)) => return Err(unusable(format!("{scheme}: is neither http nor https"))),
        None => {
            let near = is_near(text.split('/').next().unwrap_or(text));
            let scheme = if near { "http" } else { "https" };
            format!("{scheme}://{}", text.trim_end_matches('/'))
        }
    };
    let is_usable = base.parse::<Uri>().is_ok_and(|uri| {
        uri.query().is_none() && uri.authority().is_some_and(|it| !it.as_str().contains('@'))
    });
    match is_usable {
        true => Ok(base),
        false => Err(unusable("is no address of a server, such as https://host:port".into())),
    }
}

/// A server spelled one way, without its scheme: its name in lower case, always with a port, and the
/// path if there is one.
pub(crate) fn spelled(base: &str) -> String {
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.to_ascii_lowercase();
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|it| it.is_ascii_digit());
    let port = match host.rsplit_once(':') {
        Some((_, port)) if is_port(port) => "",
        _ if scheme == "http" => ":80",
        _ => ":443",
    };
    let path = path.split('/').filter(|part| !part.is_empty()).map(|part| format!("/{part}"));
    format!("{}{port}{}", host.trim_end_matches(':'), path.collect::<String>())
}

/// Whether a secret may be sent there: over TLS, or in a network of one's own.
pub(crate) fn keeps_secrets(base: &str) -> bool {
    base.starts_with("https://")
        || base
            .parse::<Uri>()
            .is_ok_and(|uri| uri.authority().is_some_and(|it| is_near(it.as_str())))
}

/// Whether a host is this machine, or in a network of one's own.
pub(crate) fn is_near(host: &str) -> bool {
    match name(host).parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(std::net::IpAddr::V6(ip)) => ip.is_loopback(),
        Err(_) => {
            let name = name(host);
            name == "localhost" || name.ends_with(".local") || name.ends_with(".localhost")
        }
    }
}

/// Whether a host is given by its number, so that nothing can stand before it.
pub(crate) fn is_number(host: &str) -> bool {
    name(host).parse::<std::net::IpAddr>().is_ok()
}

/// A host without its port, and without the brackets of IPv6.
fn name(host: &str) -> String {
    let uri = host.parse::<Uri>().ok();
    uri.as_ref().and_then(Uri::host).unwrap_or(host).trim_matches(['[', ']']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_endpoints_need_no_tls() {
        for (endpoint, scheme) in [
            ("localhost:9000", "http"),
            ("192.168.1.2:9000", "http"),
            ("[::1]:9000", "http"),
            ("minio.local", "http"),
            ("s3.example.com", "https"),
            ("http://s3.example.com", "http"),
        ] {
            assert_eq!(split(endpoint).expect(endpoint).0, scheme, "{endpoint}");
        }
        for endpoint in ["ftp://s3.example.com", "me@s3.example.com", "a b"] {
            assert!(split(endpoint).is_err(), "{endpoint}");
        }
    }

    #[test]
    fn a_server_is_spelled_one_way() {
        for (base, expected) in [
            ("https://S3.Example.com", "s3.example.com:443"),
            ("https://s3.example.com:443/", "s3.example.com:443"),
            ("http://host", "host:80"),
            ("http://[::1]/Acct//", "[::1]:80/Acct"),
            ("http://[::1]:9000", "[::1]:9000"),
        ] {
            assert_eq!(spelled(base), expected, "{base}");
        }
    }

    #[test]
    fn numbers_are_no_names() {
        assert!(is_number("127.0.0.1:9000") && is_number("[::1]:9000"));
        assert!(!is_number("localhost:9000") && !is_number("1.example.com"));
    }

    #[test]
    fn a_base_is_whole_and_near_ones_need_no_tls() {
        for (text, expected) in [
            ("127.0.0.1:10000/acct/", "http://127.0.0.1:10000/acct"),
            ("http://10.0.0.7:4443", "http://10.0.0.7:4443"),
            ("storage.example.com", "https://storage.example.com"),
            ("http://storage.example.com", "http://storage.example.com"),
        ] {
            assert_eq!(base("endpoint", text).expect(text), expected);
        }
        for text in ["ftp://host", "https://", "https://me@host", "http://host/?a=b", "a b"] {
            let error = base("endpoint", text).expect_err(text).to_string();
            assert!(error.starts_with("endpoint: "), "{error}");
        }
        assert!(keeps_secrets("http://localhost:1/x") && keeps_secrets("https://example.com"));
        assert!(!keeps_secrets("http://example.com"));
    }
}
