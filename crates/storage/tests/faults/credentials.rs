//! Credentials that expire or are replaced while we run.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use storage::{Error, Storage};
use testkit::stub::{Reply, Request, Stub};
use testkit::{Scratch, wait};

use crate::{environment, list, open};

/// A bucket that lets one key in, and the places that give it away.
struct Cloud {
    valid: Arc<Mutex<String>>,
    refusals: Arc<AtomicUsize>,
    bucket: Stub,
    keys: Stub,
}

impl Cloud {
    /// Keys are said to live for so long.
    fn start(lifetime: Duration) -> Cloud {
        let valid = Arc::new(Mutex::new("KEY1".to_owned()));
        let refusals = Arc::new(AtomicUsize::new(0));
        let (to_check, counted) = (Arc::clone(&valid), Arc::clone(&refusals));
        let bucket = Stub::start(None, move |request| {
            let key = to_check.lock().unwrap_or_else(PoisonError::into_inner);
            let signed = request.header("authorization").unwrap_or_default();
            if signed.contains(&format!("Credential={key}/")) {
                return Reply::xml(200, "<ListBucketResult></ListBucketResult>");
            }
            counted.fetch_add(1, Ordering::Relaxed);
            match request.header("x-amz-security-token") {
                Some(_) => Reply::refusal(400, "ExpiredToken"),
                None => Reply::refusal(403, "InvalidAccessKeyId"),
            }
        });
        let to_give = Arc::clone(&valid);
        let keys = Stub::start(None, move |request| {
            let key = to_give.lock().unwrap_or_else(PoisonError::into_inner).clone();
            give(request, &key, SystemTime::now() + lifetime)
        });
        Cloud { valid, refusals, bucket, keys }
    }

    fn storage(&self, variables: &[(&str, &str)], scratch: &Scratch) -> Arc<dyn Storage> {
        let url = format!("s3://b/p?endpoint=http://{}&region=r", self.bucket.host);
        // Nothing of the machine that the test runs on.
        let nowhere = scratch.path("nowhere").display().to_string();
        let mut all = vec![("AWS_EC2_METADATA_DISABLED", "true")];
        for name in ["AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"] {
            all.push((name, nowhere.as_str()));
        }
        all.extend(variables);
        let environment = environment(&all, Some(scratch.root().to_owned()));
        open(&url, &[("timeout", "5s")], &environment)
    }

    fn replace_key(&self, key: &str) {
        key.clone_into(&mut self.valid.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn refusals(&self) -> usize {
        self.refusals.load(Ordering::Relaxed)
    }
}

/// What the services that hand out credentials say.
fn give(request: &Request, key: &str, expires: SystemTime) -> Reply {
    let path = request.target.split('?').next().unwrap_or_default();
    let expires = jiff::Timestamp::try_from(expires).expect("a moment");
    let json = |text: String| Reply::Answer(200, Vec::new(), text.into_bytes());
    let common = format!(
        r#"{{"Code":"Success","AccessKeyId":"{key}","SecretAccessKey":"s","Token":"t","Expiration":"{expires}"}}"#
    );
    match path {
        "/" => {
            let body = String::from_utf8_lossy(&request.body);
            assert!(body.contains("WebIdentityToken=proof"), "{body}");
            Reply::xml(
                200,
                &format!(
                    "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult>\
                     <Credentials><AccessKeyId>{key}</AccessKeyId><SecretAccessKey>s\
                     </SecretAccessKey><SessionToken>t</SessionToken><Expiration>{expires}\
                     </Expiration></Credentials></AssumeRoleWithWebIdentityResult>\
                     </AssumeRoleWithWebIdentityResponse>"
                ),
            )
        }
        "/container" => match request.header("authorization") {
            Some("proof") => json(common),
            _ => Reply::refusal(401, "NoToken"),
        },
        "/latest/api/token" => json("proof".into()),
        _ if path.starts_with("/latest/") => match request.header("x-aws-ec2-metadata-token") {
            Some("proof") if path.ends_with('/') => json("role".into()),
            Some("proof") => json(common),
            _ => Reply::refusal(401, "NoToken"),
        },
        "/sso" => {
            assert_eq!(request.header("x-amz-sso_bearer_token"), Some("proof"));
            json(format!(
                r#"{{"roleCredentials":{{"accessKeyId":"{key}","secretAccessKey":"s","sessionToken":"t","expiration":{}}}}}"#,
                expires.as_millisecond()
            ))
        }
        other => panic!("nobody asks for {other}"),
    }
}

/// The variables that name a source, and what has to be there for it.
type Source = fn(&Cloud, &Scratch) -> Vec<(&'static str, String)>;

const SOURCES: [(&str, Source); 6] = [
    ("web identity", |cloud, scratch| {
        let token = scratch.path("token");
        fs::write(&token, "proof").expect("write the token");
        vec![
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/backup".into()),
            ("AWS_WEB_IDENTITY_TOKEN_FILE", token.display().to_string()),
            ("AWS_ENDPOINT_URL_STS", format!("http://{}", cloud.keys.host)),
        ]
    }),
    ("ECS", |cloud, _| {
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/container", cloud.keys.host)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "proof".into()),
        ]
    }),
    ("EKS pod identity", |cloud, scratch| {
        let token = scratch.path("token");
        fs::write(&token, "proof\n").expect("write the token");
        vec![
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", format!("http://{}/container", cloud.keys.host)),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", token.display().to_string()),
        ]
    }),
    ("IMDSv2", |cloud, _| {
        vec![
            ("AWS_EC2_METADATA_DISABLED", "false".into()),
            ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{}", cloud.keys.host)),
        ]
    }),
    ("SSO", |cloud, scratch| {
        let config = scratch.path("config");
        let text = "[default]\nsso_account_id = 1\nsso_region = r\nsso_role_name = backup\n\
             sso_start_url = https://start.example\n";
        fs::write(&config, text).expect("write the configuration");
        let cache = scratch.path(".aws/sso/cache");
        fs::create_dir_all(&cache).expect("make the cache");
        // The SHA-1 of the start URL.
        let name = "1c5a689b7bb92284d0c514c4b1c1e1ce96d9621f.json";
        let token = r#"{"accessToken":"proof","expiresAt":"2099-01-01T00:00:00Z"}"#;
        fs::write(cache.join(name), token).expect("write the token");
        vec![
            ("AWS_CONFIG_FILE", config.display().to_string()),
            ("AWS_SSO_ENDPOINT", format!("http://{}/sso", cloud.keys.host)),
        ]
    }),
    ("process", |cloud, scratch| {
        let (config, program) = (scratch.path("config"), scratch.path("keys.sh"));
        let text = format!("[default]\ncredential_process = {}\n", program.display());
        fs::write(&config, text).expect("write the configuration");
        let ask = format!(
            "#!/bin/sh\ncurl -s -H 'authorization: proof' http://{}/container | \
             sed 's/\"Token\"/\"SessionToken\"/; s/^{{/{{\"Version\":1,/'\n",
            cloud.keys.host
        );
        fs::write(&program, ask).expect("write the program");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it run");
        vec![("AWS_CONFIG_FILE", config.display().to_string())]
    }),
];

fn with_each_source(lifetime: Duration, check: impl Fn(&str, &Cloud, &dyn Storage)) {
    for (name, source) in SOURCES {
        println!("{name}");
        let (cloud, scratch) = (Cloud::start(lifetime), Scratch::new("keys"));
        let variables = source(&cloud, &scratch);
        let variables: Vec<(&str, &str)> =
            variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let storage = cloud.storage(&variables, &scratch);
        assert_eq!(list(&*storage).expect(name), 0);
        check(name, &cloud, &*storage);
    }
}

/// As if it had been revoked.
#[test]
fn a28_keys_that_are_refused_before_their_time_are_asked_for_anew() {
    with_each_source(Duration::from_secs(3600), |name, cloud, storage| {
        cloud.replace_key("KEY2");
        assert_eq!(list(storage).expect(name), 0, "{name}: the call goes on with the new key");
        assert_eq!(cloud.refusals(), 1, "{name}");
        list(storage).expect(name);
        assert_eq!(cloud.refusals(), 1, "{name}: the new key is kept");
    });
}

#[test]
fn a28_keys_are_renewed_before_they_expire() {
    with_each_source(Duration::from_secs(60), |name, cloud, storage| {
        cloud.replace_key("KEY2");
        assert_eq!(list(storage).expect(name), 0);
        assert_eq!(cloud.refusals(), 0, "{name}: nothing was tried with a stale key");
    });
}

#[test]
fn a28_files_that_change_are_read_anew() {
    let (cloud, scratch) = (Cloud::start(Duration::ZERO), Scratch::new("keys"));
    let file = scratch.path("credentials");
    let write = |key: &str| {
        let text = format!("[backup]\naws_access_key_id = {key}\naws_secret_access_key = s\n");
        fs::write(&file, text).expect("write the keys");
    };
    write("KEY1");
    let path = file.display().to_string();
    let storage = cloud.storage(
        &[("AWS_SHARED_CREDENTIALS_FILE", path.as_str()), ("AWS_PROFILE", "backup")],
        &scratch,
    );
    list(&*storage).expect("the first key");
    cloud.replace_key("KEY2");
    let refused = list(&*storage).expect_err("the first key is not taken any more");
    assert!(matches!(refused, Error::Denied { .. }), "{refused:?}");
    write("KEY2");
    wait::until("the second key", Duration::from_secs(10), || list(&*storage).ok());
}

#[test]
fn a28_a_token_that_expires_and_cannot_be_renewed_is_told() {
    let (cloud, scratch) = (Cloud::start(Duration::ZERO), Scratch::new("keys"));
    let storage = cloud.storage(
        &[("AWS_ACCESS_KEY_ID", "OLD"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")],
        &scratch,
    );
    let expired = list(&*storage).expect_err("it has expired");
    assert!(matches!(expired, Error::Expired { .. }), "{expired:?}");
}

#[test]
fn no_credentials_at_all_are_told() {
    let (cloud, scratch) = (Cloud::start(Duration::ZERO), Scratch::new("keys"));
    let none = list(&*cloud.storage(&[], &scratch)).expect_err("nobody");
    assert!(matches!(none, Error::Denied { .. }), "{none:?}");
    assert!(none.to_string().contains("no credentials"), "{none}");
}
