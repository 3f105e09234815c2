//! Parameters that go to tokio-postgres, with defaults that find a dead peer in under 20 s.

use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, LoadBalanceHosts, TargetSessionAttrs};

use super::parameters::Parameters;
use crate::{Error, ErrorKind};

pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Idle for 5 s and then three probes 3 s apart: 14 s.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(5);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(3);
const KEEPALIVES_COUNT: u32 = 3;
/// For a peer that dies with data on the way, when no probes are sent.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(15);
/// What tokio-postgres has where nothing was set.
const THEIR_KEEPALIVES_IDLE: Duration = Duration::from_secs(2 * 60 * 60);
const APPLICATION_NAME: &str = "notify_json";

/// All but the servers, TLS and time limit.
pub(super) fn config(parameters: &Parameters) -> Result<Config, Error> {
    let mut config = Config::new();
    match parameters.text("user") {
        Some(user) => config.user(user),
        None => config.user(whoami::username().map_err(|error| {
            let text = "the name of the user is unknown; set the parameter user";
            Error::new(ErrorKind::Config, text).caused_by(error)
        })?),
    };
    let user = config.get_user().unwrap_or_default().to_owned();
    config.dbname(parameters.text("dbname").unwrap_or(&user));
    if let Some(password) = parameters.text("password") {
        config.password(password);
    }
    if let Some(options) = parameters.text("options") {
        config.options(options);
    }
    let name = parameters.text("application_name");
    config.application_name(
        name.or(parameters.text("fallback_application_name")).unwrap_or(APPLICATION_NAME),
    );
    keepalive(parameters, &mut config)?;
    choices(parameters, &mut config)?;
    Ok(config)
}

/// How long connecting to one address may take. Default 10 s; zero or less stands for ever.
pub(super) fn timeout(parameters: &Parameters) -> Result<Option<Duration>, Error> {
    let seconds = number(parameters, "connect_timeout", "a number of seconds")?;
    Ok(seconds.map_or(Some(CONNECT_TIMEOUT), |seconds| positive(seconds).map(Duration::from_secs)))
}

fn keepalive(parameters: &Parameters, config: &mut Config) -> Result<(), Error> {
    let seconds = |name| -> Result<Option<Duration>, Error> {
        let seconds = number(parameters, name, "a number of seconds")?.and_then(positive);
        Ok(seconds.map(Duration::from_secs))
    };
    config.keepalives(number(parameters, "keepalives", "0 or 1")? != Some(0));
    config.keepalives_idle(seconds("keepalives_idle")?.unwrap_or(KEEPALIVES_IDLE));
    config.keepalives_interval(seconds("keepalives_interval")?.unwrap_or(KEEPALIVES_INTERVAL));
    // tokio-postgres has a name of its own for libpq's keepalives_count.
    let mut count = None;
    for name in ["keepalives_retries", "keepalives_count"] {
        count = number(parameters, name, "a number of probes")?.and_then(positive).or(count);
    }
    config.keepalives_retries(
        count.map_or(KEEPALIVES_COUNT, |count| u32::try_from(count).unwrap_or(u32::MAX)),
    );
    match number(parameters, "tcp_user_timeout", "a number of milliseconds")? {
        None => config.tcp_user_timeout(TCP_USER_TIMEOUT),
        Some(0) => config,
        Some(milliseconds) => match positive(milliseconds) {
            Some(milliseconds) => config.tcp_user_timeout(Duration::from_millis(milliseconds)),
            None => config,
        },
    };
    Ok(())
}

fn choices(parameters: &Parameters, config: &mut Config) -> Result<(), Error> {
    let attributes = parameters.parsed(
        "target_session_attrs",
        "any, read-write, primary or read-only; a standby can neither send nor listen",
        |value| match value {
            "any" => Some(TargetSessionAttrs::Any),
            "read-write" | "primary" => Some(TargetSessionAttrs::ReadWrite),
            "read-only" => Some(TargetSessionAttrs::ReadOnly),
            _ => None,
        },
    )?;
    config.target_session_attrs(attributes.unwrap_or(TargetSessionAttrs::Any));
    let binding =
        parameters.parsed(
            "channel_binding",
            "disable, prefer or require",
            |value| match value {
                "disable" => Some(ChannelBinding::Disable),
                "prefer" => Some(ChannelBinding::Prefer),
                "require" => Some(ChannelBinding::Require),
                _ => None,
            },
        )?;
    config.channel_binding(binding.unwrap_or(ChannelBinding::Prefer));
    let balance =
        parameters.parsed("load_balance_hosts", "disable or random", |value| match value {
            "disable" => Some(LoadBalanceHosts::Disable),
            "random" => Some(LoadBalanceHosts::Random),
            _ => None,
        })?;
    config.load_balance_hosts(balance.unwrap_or(LoadBalanceHosts::Disable));
    Ok(())
}

fn number(parameters: &Parameters, name: &str, meaning: &str) -> Result<Option<i32>, Error> {
    parameters.parsed(name, meaning, |value| value.trim().parse().ok())
}

fn positive(number: i32) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

/// A copy without hosts, addresses, ports and time limit, with our defaults for what is not set.
pub(super) fn without_servers(given: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = given.get_user() {
        config.user(user);
    }
    if let Some(password) = given.get_password() {
        config.password(password);
    }
    if let Some(database) = given.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = given.get_options() {
        config.options(options);
    }
    let idle = given.get_keepalives_idle();
    let timeout = given.get_tcp_user_timeout().copied();
    config
        .application_name(given.get_application_name().unwrap_or(APPLICATION_NAME))
        .ssl_mode(given.get_ssl_mode())
        .ssl_negotiation(given.get_ssl_negotiation())
        .keepalives(given.get_keepalives())
        .keepalives_idle(if idle == THEIR_KEEPALIVES_IDLE { KEEPALIVES_IDLE } else { idle })
        .keepalives_interval(given.get_keepalives_interval().unwrap_or(KEEPALIVES_INTERVAL))
        .keepalives_retries(given.get_keepalives_retries().unwrap_or(KEEPALIVES_COUNT))
        .tcp_user_timeout(timeout.unwrap_or(TCP_USER_TIMEOUT))
        .target_session_attrs(given.get_target_session_attrs())
        .channel_binding(given.get_channel_binding())
        .load_balance_hosts(given.get_load_balance_hosts())
        .clone()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::tests::gather;

    fn read(connection: &str) -> Result<Config, Error> {
        config(&gather(connection, &[])?)
    }

    fn detection_time(config: &Config) -> Duration {
        let probes = config.get_keepalives_retries().unwrap();
        config.get_keepalives_idle() + config.get_keepalives_interval().unwrap() * probes
    }

    #[test]
    fn a_dead_peer_is_found_in_under_20_seconds() {
        for config in [read("").unwrap(), without_servers(&Config::new())] {
            assert!(config.get_keepalives());
            assert!(detection_time(&config) < Duration::from_secs(20));
            assert!(*config.get_tcp_user_timeout().unwrap() < Duration::from_secs(20));
            assert_eq!(config.get_application_name(), Some("notify_json"));
        }
        assert_eq!(timeout(&gather("", &[]).unwrap()).unwrap(), Some(Duration::from_secs(10)));
    }

    #[test]
    fn what_is_set_stays() {
        let config = read(
            "keepalives=0 keepalives_idle=1 keepalives_interval=2 keepalives_count=4 user=u \
             tcp_user_timeout=1500 application_name=a options='-c x=y' target_session_attrs=primary",
        )
        .unwrap();
        assert!(!config.get_keepalives());
        assert_eq!(detection_time(&config), Duration::from_secs(9));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
        assert_eq!(config.get_application_name(), Some("a"));
        assert_eq!(config.get_options(), Some("-c x=y"));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("u")));
        assert_eq!(without_servers(&config), config);
        assert_eq!(read("tcp_user_timeout=0").unwrap().get_tcp_user_timeout(), None);
        assert_eq!(timeout(&gather("connect_timeout=0", &[]).unwrap()).unwrap(), None);
        for text in ["connect_timeout=soon", "keepalives=on", "target_session_attrs=standby"] {
            let parameters = gather(text, &[]).unwrap();
            assert!(super::config(&parameters).and(timeout(&parameters)).is_err(), "{text}");
        }
    }
}
