//! Profiles that stand for a role: Amazon's service for tokens gives its keys to whoever has those
//! of another profile, or of this machine.
//! (`docs.aws.amazon.com/cli/latest/userguide/cli-configure-role.html`)

use std::time::Duration;

use ini::Ini;
use reqsign_aws_v4::{
    AssumeRoleGrant, AssumeRoleGranter, Credential, DefaultCredentialProvider,
    ECSCredentialProvider, EnvCredentialProvider, IMDSv2CredentialProvider,
};
use reqsign_core::{Context, Error, GrantCredential, ProvideCredential, Result};

/// As Amazon has it, where a profile does not say how long its keys are good.
const USUAL_TIME: Duration = Duration::from_secs(3600);
/// The service for tokens of this region knows all roles.
const USUAL_REGION: &str = "us-east-1";

/// The keys of a role that a profile names.
#[derive(Debug)]
pub(super) struct Roles {
    /// The profile, if it is not the one that the environment names.
    pub(super) profile: Option<String>,
}

/// Both files that have profiles.
struct Profiles {
    config: Ini,
    credentials: Ini,
}

/// A role, and who may have it.
#[derive(Debug, PartialEq, Eq)]
struct Role {
    arn: String,
    session: String,
    external_id: Option<String>,
    region: String,
    time: Duration,
    source: Source,
}

/// Whose keys a role is given to.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Source {
    /// Another profile, or the same one's own keys.
    Profile(String),
    /// The variables of the environment.
    Environment,
    /// A machine of Amazon's.
    Machine,
    /// A container there.
    Container,
}

impl Profiles {
    async fn read(context: &Context) -> Result<Profiles> {
        let file = async |variable: &str, usual: &str| {
            let path = context.env_var(variable).unwrap_or_else(|| usual.to_owned());
            let path = context.expand_home_dir(&path).unwrap_or(path);
            let text = context.file_read(&path).await.unwrap_or_default();
            Ini::load_from_str(&String::from_utf8_lossy(&text))
                .map_err(|error| Error::config_invalid(format!("{path}: {error}")))
        };
        Ok(Profiles {
            config: file("AWS_CONFIG_FILE", "~/.aws/config").await?,
            credentials: file("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials").await?,
        })
    }

    fn value(&self, profile: &str, key: &str) -> Option<&str> {
        let named = format!("profile {profile}");
        let section = if profile == "default" { profile } else { &named };
        let value = |file: &'static str| match file {
            "config" => self.config.get_from(Some(section), key),
            _ => self.credentials.get_from(Some(profile), key),
        };
        value("config").or_else(|| value("credentials"))
    }

    fn has_keys(&self, profile: &str) -> bool {
        self.value(profile, "aws_access_key_id").is_some()
    }

    /// The role that a profile stands for, if it does.
    fn role(&self, profile: &str) -> Result<Option<Role>> {
        let Some(arn) = self.value(profile, "role_arn") else { return Ok(None) };
        let value = |key| self.value(profile, key);
        let wrong = |what: String| Error::config_invalid(format!("profile {profile}: {what}"));
        if value("web_identity_token_file").is_some() {
            return Ok(None); // it is no key that has the role, but a token
        }
        if value("mfa_serial").is_some() {
            let what = "its role wants a code of a device, which nobody is there to give";
            return Err(wrong(what.into()));
        }
        let source = match (value("source_profile"), value("credential_source")) {
            (Some(other), None) => Source::Profile(other.to_owned()),
            (None, Some("Environment")) => Source::Environment,
            (None, Some("Ec2InstanceMetadata")) => Source::Machine,
            (None, Some("EcsContainer")) => Source::Container,
            (None, Some(other)) => return Err(wrong(format!("credential_source is {other:?}"))),
            (Some(_), Some(_)) => {
                return Err(wrong("it has a source_profile and a credential_source".into()));
            }
            (None, None) => {
                return Err(wrong("its role needs a source_profile or a credential_source".into()));
            }
        };
        let time = match value("duration_seconds").map(str::parse) {
            None => USUAL_TIME,
            Some(Ok(seconds)) => Duration::from_secs(seconds),
            Some(Err(_)) => return Err(wrong("duration_seconds is no number".into())),
        };
        let usual_session = || format!("brooklet-{}", std::process::id());
        Ok(Some(Role {
            arn: arn.to_owned(),
            session: value("role_session_name").map_or_else(usual_session, str::to_owned),
            external_id: value("external_id").map(str::to_owned),
            region: value("region").unwrap_or(USUAL_REGION).to_owned(),
            time,
            source,
        }))
    }

    /// The roles from the one that is wanted to the one that keys are there for.
    fn chain(&self, profile: &str) -> Result<Vec<Role>> {
        let (mut roles, mut seen) = (Vec::new(), vec![profile.to_owned()]);
        while let Some(name) = seen.last() {
            // A profile may have keys of its own for its role.
            let own = seen.len() > 1 && self.has_keys(name);
            let Some(role) = (if own { None } else { self.role(name)? }) else { break };
            let source = role.source.clone();
            roles.push(role);
            match source {
                Source::Profile(next) if seen.contains(&next) && !self.has_keys(&next) => {
                    let what = format!("profile {profile}: {next} is a source of itself");
                    return Err(Error::config_invalid(what));
                }
                Source::Profile(next) if !seen.contains(&next) => seen.push(next),
                _ => break,
            }
        }
        Ok(roles)
    }
}

impl Source {
    async fn keys(&self, context: &Context) -> Result<Option<Credential>> {
        match self {
            Source::Environment => EnvCredentialProvider::new().provide_credential(context).await,
            Source::Machine => IMDSv2CredentialProvider::new().provide_credential(context).await,
            Source::Container => ECSCredentialProvider::new().provide_credential(context).await,
            Source::Profile(name) => {
                let own = DefaultCredentialProvider::builder().with_profile(name);
                let own = own.no_env().no_web_identity().no_ecs().no_imds().build();
                own.provide_credential(context).await
            }
        }
    }
}

impl ProvideCredential for Roles {
    type Credential = Credential;

    async fn provide_credential(&self, context: &Context) -> Result<Option<Credential>> {
        // Keys in the environment come before a profile that nobody asked for.
        if self.profile.is_none() && context.env_var("AWS_ACCESS_KEY_ID").is_some() {
            return Ok(None);
        }
        let named = self.profile.clone().or_else(|| context.env_var("AWS_PROFILE"));
        let profile = named.unwrap_or_else(|| "default".to_owned());
        let roles = Profiles::read(context).await?.chain(&profile)?;
        let Some(first) = roles.last() else { return Ok(None) };
        let Some(mut keys) = first.source.keys(context).await? else {
            let what =
                format!("profile {profile}: {:?} has no keys for {}", first.source, first.arn);
            return Err(Error::config_invalid(what));
        };
        for role in roles.iter().rev() {
            let mut grant = AssumeRoleGrant::new(&role.arn, &role.session);
            if let Some(id) = &role.external_id {
                grant = grant.with_external_id(id);
            }
            let granter = AssumeRoleGranter::new(&role.region, grant);
            let granted = granter.grant_credential(context, &keys, Some(role.time)).await;
            keys = granted.map_err(|error| error.with_context(format!("role: {}", role.arn)))?;
        }
        Ok(Some(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "\
[default]
region = eu-west-1

[profile plain]
aws_access_key_id = A

[profile backup]
role_arn = arn:aws:iam::123456789012:role/backup
source_profile = middle
external_id = x
duration_seconds = 900
region = eu-central-1

[profile middle]
role_arn = arn:aws:iam::123456789012:role/middle
source_profile = base

[profile own]
role_arn = arn:aws:iam::123456789012:role/own
source_profile = own
aws_access_key_id = B

[profile machine]
role_arn = arn:aws:iam::123456789012:role/machine
credential_source = Ec2InstanceMetadata

[profile a]
role_arn = arn:aws:iam::123456789012:role/a
source_profile = b

[profile b]
role_arn = arn:aws:iam::123456789012:role/b
source_profile = a

[profile device]
role_arn = arn:aws:iam::123456789012:role/device
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/me

[profile nowhere]
role_arn = arn:aws:iam::123456789012:role/nowhere
";

    fn chain(profile: &str) -> Result<Vec<Role>> {
        let read = |text| Ini::load_from_str(text).expect("an INI file");
        let credentials = read("[base]\naws_access_key_id = C\n");
        Profiles { config: read(CONFIG), credentials }.chain(profile)
    }

    #[test]
    fn a_profile_may_stand_for_a_role_of_others() {
        for none in ["default", "plain", "base", "unknown"] {
            assert_eq!(chain(none).expect(none), [], "{none}");
        }
        let backup = chain("backup").expect("roles");
        assert_eq!(backup.len(), 2);
        assert_eq!(backup[0].arn, "arn:aws:iam::123456789012:role/backup");
        assert_eq!((backup[0].region.as_str(), backup[0].time.as_secs()), ("eu-central-1", 900));
        assert_eq!(backup[0].external_id.as_deref(), Some("x"));
        assert_eq!(backup[1].source, Source::Profile("base".into()));
        assert_eq!((backup[1].region.as_str(), backup[1].time), (USUAL_REGION, USUAL_TIME));
        assert_eq!(chain("own").expect("a role")[0].source, Source::Profile("own".into()));
        assert_eq!(chain("machine").expect("a role")[0].source, Source::Machine);
    }

    #[test]
    fn what_cannot_be_followed_is_told() {
        for (profile, why) in [
            ("a", "source of itself"),
            ("device", "a code of a device"),
            ("nowhere", "needs a source_profile"),
        ] {
            let error = chain(profile).expect_err(profile).to_string();
            assert!(error.contains(why), "{profile}: {error}");
        }
    }
}
