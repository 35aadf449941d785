//! Reads the configuration: the file, then the environment over it.

use std::{env, fs, io, path::Path};

use figment::{
    Error, Figment, Metadata, Profile, Provider,
    providers::{Format, Toml},
    value::{Dict, Map, Value},
};

use super::{
    Config, ConfigError, MOST_EXPRESSION_BYTES,
    error::{explain, invalid, origin, without_source},
};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "redrive.toml";

/// What the variables of this program begin with.
const PREFIX: &str = "REDRIVE_";

/// Variables that platforms set, and the keys they stand for.
const ALIASES: [(&str, &str, &str); 2] = [
    ("DATABASE_URL", "database", "url"),
    ("AMQP_URL", "broker", "url"),
];

/// The most that `limits.loop_depth` may be: every level of loops takes some of a thread's stack.
const MOST_LOOP_DEPTH: usize = 100;

/// The variable that replaces the port of `server.listen`.
const PORT: &str = "PORT";

/// The variable that `PORT` gives way to.
const LISTEN: &str = "REDRIVE_SERVER__LISTEN";

impl Config {
    /// Reads `file`, which must exist, or `redrive.toml` in the working directory if it does, and
    /// the environment over it.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn load(file: Option<&Path>) -> Result<Self, ConfigError> {
        let path = file.unwrap_or(Path::new(DEFAULT_FILE));
        let text = match fs::read_to_string(path) {
            Ok(text) => Some(text),
            Err(error) if file.is_none() && error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => {
                let path = path.to_owned();
                return Err(ConfigError::Unreadable { path, source });
            }
        };
        let origin = path.display().to_string();
        Self::from_sources(
            text.as_deref().map(|text| (origin.as_str(), text)),
            environment()?,
        )
    }

    /// The configuration of a file's name and text, and of variables. An empty variable counts as
    /// not set.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_sources(
        file: Option<(&str, &str)>,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let variables: Vec<_> = variables
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let mut figment = Figment::new();
        if let Some((name, text)) = file {
            figment = figment.merge(Layer::of_file(name, text)?);
        }
        // Aliases first, so that the variable of this program's own name wins.
        for layer in variables.iter().filter_map(Layer::of_alias) {
            figment = figment.merge(layer);
        }
        for layer in variables.iter().filter_map(Layer::of_variable) {
            figment = figment.merge(layer);
        }
        let mut config: Self = figment.extract().map_err(|e| explain(e, &figment))?;
        config.apply_port(&variables)?;
        config.check(&figment)?;
        Ok(config)
    }

    fn apply_port(&mut self, variables: &[(String, String)]) -> Result<(), ConfigError> {
        let find = |wanted: &str| variables.iter().find(|(name, _)| name == wanted);
        if let (Some((_, port)), None) = (find(PORT), find(LISTEN)) {
            let port = port
                .trim()
                .parse()
                .map_err(|_| invalid("server.listen", PORT, "expected a port, 0 to 65535"))?;
            self.server.listen.set_port(port);
        }
        Ok(())
    }

    /// Refuses numbers with which nothing would ever happen.
    fn check(&self, figment: &Figment) -> Result<(), ConfigError> {
        let positive = [
            (
                "database.max_connections",
                self.database.max_connections == 0,
            ),
            ("worker.slots", self.worker.slots == 0),
            ("worker.lease_ms", self.worker.lease_ms == 0),
            ("limits.chain_length", self.limits.chain_length == 0),
        ];
        if let Some((key, _)) = positive.iter().find(|(_, is_zero)| *is_zero) {
            return Err(invalid(key, &origin(figment, key), "must be at least 1"));
        }
        if !(1..=200).contains(&self.broker.prefix.len()) {
            let key = "broker.prefix";
            return Err(invalid(
                key,
                &origin(figment, key),
                "must be 1 to 200 bytes",
            ));
        }
        let limits = &self.limits;
        for (key, given, most) in [
            ("limits.loop_depth", limits.loop_depth, MOST_LOOP_DEPTH),
            (
                "limits.expression_bytes",
                limits.expression_bytes,
                MOST_EXPRESSION_BYTES,
            ),
        ] {
            if given > most {
                let why = format!("must be at most {most}");
                return Err(invalid(key, &origin(figment, key), &why));
            }
        }
        for (kind, cost) in &self.cu {
            if !cost.is_finite() || *cost < 0.0 {
                let key = format!("cu.{kind}");
                let why = "must be a number of at least 0";
                return Err(invalid(&key, &origin(figment, &key), why));
            }
        }
        Ok(())
    }
}

/// The variables that may be configuration, as text.
fn environment() -> Result<Vec<(String, String)>, ConfigError> {
    env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| is_configuration(name))
        .map(|(name, value)| match value.into_string() {
            Ok(value) => Ok((name, value)),
            Err(_) => Err(invalid(&name, "the environment", "must be UTF-8")),
        })
        .collect()
}

fn is_configuration(name: &str) -> bool {
    split(name).is_some() || name == PORT || ALIASES.iter().any(|(alias, ..)| *alias == name)
}

/// Section and key of a variable: `REDRIVE_HTTP__ALLOW_NETWORKS` is `http`, `allow_networks`.
/// Others, such as `REDRIVE_URL` of the client, are no configuration.
fn split(name: &str) -> Option<(String, String)> {
    let (section, key) = name.strip_prefix(PREFIX)?.split_once("__")?;
    Some((section.to_lowercase(), key.to_lowercase()))
}

/// One source of values, under the name that errors use for it.
struct Layer {
    name: String,
    values: Map<Profile, Dict>,
}

impl Layer {
    fn of_file(name: &str, text: &str) -> Result<Self, ConfigError> {
        let values = Toml::string(text)
            .data()
            .map_err(|error| ConfigError::Syntax {
                origin: name.to_owned(),
                why: without_source(&error.to_string()),
            })?;
        Ok(Self {
            name: name.to_owned(),
            values,
        })
    }

    fn of_alias((name, value): &(String, String)) -> Option<Self> {
        let (_, section, key) = ALIASES.iter().find(|(alias, ..)| alias == name)?;
        Some(Self::of_value(name, section, key, value.as_str().into()))
    }

    fn of_variable((name, text): &(String, String)) -> Option<Self> {
        let (section, key) = split(name)?;
        let is_text = matches!(
            (section.as_str(), key.as_str()),
            ("database" | "broker", "url")
                | ("broker", "prefix")
                | ("connectors", _)
                | ("log", "filter")
        );
        let value = if is_text {
            text.as_str().into()
        } else {
            // Reading a value never fails: what is nothing else is a text.
            text.parse().unwrap_or_else(|never| match never {})
        };
        Some(Self::of_value(name, &section, &key, value))
    }

    fn of_value(name: &str, section: &str, key: &str, value: Value) -> Self {
        let section_values = Dict::from([(key.to_owned(), value)]);
        let values = Dict::from([(section.to_owned(), section_values.into())]);
        Self {
            name: name.to_owned(),
            values: Profile::Default.collect(values),
        }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.clone())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(self.values.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;

    fn read(file: &str, variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::from_sources(Some(("redrive.toml", file)), variables)
    }

    fn refusal(file: &str, variables: &[(&str, &str)]) -> String {
        read(file, variables).unwrap_err().to_string()
    }

    #[test]
    fn nothing_configured_is_the_defaults() {
        let config = Config::from_sources(None, []).unwrap();
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.database.url.expose(), "sqlite:.redrive/redrive.db");
        assert!(config.broker.url.is_none());
        assert_eq!(config.worker.slots, 32);
    }

    #[test]
    fn the_environment_goes_over_the_file() {
        let file = r#"
            [server]
            listen = "0.0.0.0:9000"
            [worker]
            slots = 4
            lease_ms = 1000
            [connectors]
            "slack-*" = "https://gateway.example/slack"
            [cu]
            http-request = 2.5
        "#;
        let variables = [
            ("REDRIVE_WORKER__SLOTS", "8"),
            (
                "REDRIVE_HTTP__ALLOW_NETWORKS",
                r#"["127.0.0.0/8", "::1/128"]"#,
            ),
            ("REDRIVE_CONNECTORS__DEFAULT", "https://gateway.example"),
            ("REDRIVE_LOG__FORMAT", "json"),
            ("REDRIVE_LOG__FILTER", "redrive=debug,info"),
            ("REDRIVE_URL", "http://client.example"),
            ("REDRIVE_TOKEN", "a token"),
            ("PATH", "/bin"),
        ];
        let config = read(file, &variables).unwrap();
        assert_eq!(config.server.listen.to_string(), "0.0.0.0:9000");
        assert_eq!((config.worker.slots, config.worker.lease_ms), (8, 1_000));
        assert_eq!(config.http.allow_networks.len(), 2);
        let connectors: Vec<_> = config.connectors.keys().map(String::as_str).collect();
        assert_eq!(connectors, ["default", "slack-*"]);
        assert!((config.cu["http-request"] - 2.5).abs() < f64::EPSILON);
        assert_eq!(config.log.format, LogFormat::Json);
        assert_eq!(config.log.filter.as_deref(), Some("redrive=debug,info"));
    }

    #[test]
    fn aliases_stand_between_the_file_and_the_own_names() {
        let file = "[database]\nurl = 'sqlite:file.db'\n[server]\nlisten = '0.0.0.0:9000'";
        let alias = [
            ("DATABASE_URL", "postgres://alias"),
            ("AMQP_URL", "amqp://alias"),
            ("PORT", "7000"),
        ];
        let config = read(file, &alias).unwrap();
        assert_eq!(config.database.url.expose(), "postgres://alias");
        assert_eq!(config.broker.url.unwrap().expose(), "amqp://alias");
        assert_eq!(config.server.listen.to_string(), "0.0.0.0:7000");

        let own = [
            ("REDRIVE_DATABASE__URL", "postgres://own"),
            ("DATABASE_URL", "postgres://alias"),
            ("REDRIVE_SERVER__LISTEN", "127.0.0.1:1"),
            ("PORT", "7000"),
            ("AMQP_URL", ""),
        ];
        let config = read(file, &own).unwrap();
        assert_eq!(config.database.url.expose(), "postgres://own");
        assert_eq!(config.server.listen.to_string(), "127.0.0.1:1");
        assert!(config.broker.url.is_none(), "an empty variable is not set");
    }

    #[test]
    fn unknown_keys_are_named_with_their_source() {
        let in_file = refusal("[database]\nulr = 'postgres://user:hunter2@host'", &[]);
        assert!(
            in_file.starts_with("database.ulr in redrive.toml: no such key"),
            "{in_file}"
        );
        let section = refusal("[databse]\nurl = 'postgres://user:hunter2@host'", &[]);
        assert!(
            section.starts_with("databse in redrive.toml: no such key"),
            "{section}"
        );
        let variable = refusal("", &[("REDRIVE_WORKER__SLOT", "1")]);
        let expected = "worker.slot in REDRIVE_WORKER__SLOT: no such key";
        assert!(variable.starts_with(expected), "{variable}");
        let section = refusal("", &[("REDRIVE_WORKERS__SLOTS", "1")]);
        let expected = "workers in REDRIVE_WORKERS__SLOTS: no such key";
        assert!(section.starts_with(expected), "{section}");
    }

    #[test]
    fn values_that_cannot_be_are_refused_by_key() {
        let port = refusal("", &[("PORT", "http")]);
        assert_eq!(port, "server.listen in PORT: expected a port, 0 to 65535");
        let cases = [
            (
                "[worker]\nslots = 'many'",
                "worker.slots in redrive.toml: expected u32, found a text",
            ),
            (
                "[worker]\nslots = 0",
                "worker.slots in redrive.toml: must be at least 1",
            ),
            (
                "[worker]\nslots = -1",
                "worker.slots in redrive.toml: expected u32, found a number",
            ),
            (
                "[limits]\nloop_depth = 101",
                "limits.loop_depth in redrive.toml: must be at most 100",
            ),
            (
                "[limits]\nexpression_bytes = 65537",
                "limits.expression_bytes in redrive.toml: must be at most 65536",
            ),
            (
                "[cu]\nx = nan",
                "cu.x in redrive.toml: must be a number of at least 0",
            ),
            (
                "[server]\nlisten = 'here'",
                "server.listen in redrive.toml: invalid socket address syntax",
            ),
            (
                "[http]\nallow_networks = ['x']",
                "http.allow_networks.0 in redrive.toml: invalid IP address syntax",
            ),
            (
                "[log]\nformat = 'yaml'",
                "log.format in redrive.toml: expected one of text, json",
            ),
        ];
        for (file, expected) in cases {
            assert_eq!(refusal(file, &[]), expected);
        }
    }

    #[test]
    fn secrets_are_in_no_error_and_no_debug_output() {
        let refused = [
            refusal("database = 'postgres://user:hunter2@host'", &[]),
            refusal("[database]\nurl = 'postgres://user:hunter2@host", &[]),
            refusal("[database]\nurl = postgres://user:hunter2@host", &[]),
            refusal("[connectors]\ndefault = { hunter2 = 'hunter2' }", &[]),
            refusal("[database]\nmax_connections = 'hunter2'", &[]),
            refusal("[database]\nurl = ['hunter2']", &[]),
            refusal("[log]\nformat = 'hunter2'", &[]),
        ];
        for message in &refused {
            assert!(!message.contains("hunter2"), "{message}");
        }
        let config = read("", &[("DATABASE_URL", "postgres://user:hunter2@host")]).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_named_file_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("redrive.toml");
        let missing = Config::load(Some(&path)).unwrap_err();
        assert!(
            matches!(missing, ConfigError::Unreadable { .. }),
            "{missing}"
        );
        fs::write(&path, "[worker]\nlease_ms = 77").unwrap();
        assert_eq!(Config::load(Some(&path)).unwrap().worker.lease_ms, 77);
    }
}
