//! `redrive dev`: everything in one process on this machine, with its data in a folder.
//!
//! It listens on the loopback address only, and HTTP nodes may call loopback. The token that is
//! printed is kept in the data folder, readable by its owner only, and stays valid over restarts.

use std::{
    fs,
    io::Write,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use clap::Args;

use super::{CliError, client::Client, database, output};
use crate::{
    api::auth::{self, Scopes},
    app::{App, Running, StopSignals, init_telemetry},
    config::{Config, Secret},
    domain::{Clock, OrganizationId, SystemClock},
    store::NewToken,
};

/// The organization it speaks for.
const ORGANIZATION: &str = "org_dev";

/// Arguments of `redrive dev`.
#[derive(Debug, Args)]
pub(super) struct Dev {
    /// Where to listen on 127.0.0.1; 0 for any free port [default: 8080]
    #[arg(long)]
    port: Option<u16>,
    /// The folder for the data
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "./.redrive",
        conflicts_with = "ephemeral"
    )]
    data: PathBuf,
    /// The API token, instead of a generated one
    #[arg(long, value_parser = token_text)]
    token: Option<String>,
    /// Keep nothing: the data goes when the process ends
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    config: database::ConfigArgs,
}

impl Dev {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let temporary = self.ephemeral.then(tempfile::tempdir).transpose();
        let temporary = temporary.context("no temporary folder can be made")?;
        let data = temporary
            .as_ref()
            .map_or(self.data.as_path(), |folder| folder.path());
        fs::create_dir_all(data).with_context(|| format!("{} can't be made", data.display()))?;
        let config = configure(self.config.load()?, data, self.port)?;
        let _telemetry = init_telemetry(&config.log)?;
        let signals = StopSignals::install()?;
        let running = App::new(config).start().await?;
        let token = valid_token(&running, data, self.token.as_deref()).await?;
        output::print(&banner(running.address(), data, &token, self.ephemeral))?;
        Ok(running.run_until(signals).await?)
    }
}

/// The configuration, with what makes it a development server.
fn configure(mut config: Config, data: &Path, port: Option<u16>) -> Result<Config, CliError> {
    let port = port.unwrap_or(config.server.listen.port());
    config.server.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    config.database.url = Secret::new(sqlite_url(&data.join("redrive.db"))?);
    config.broker.url = None;
    allow_loopback(&mut config)?;
    Ok(config)
}

/// Lets HTTP nodes call this machine.
pub(super) fn allow_loopback(config: &mut Config) -> Result<(), CliError> {
    for network in ["127.0.0.0/8", "::1/128"] {
        let network = network.parse().context("a loopback network")?;
        config.http.allow_networks.push(network);
    }
    Ok(())
}

/// The database URL of a file.
pub(super) fn sqlite_url(file: &Path) -> Result<String, CliError> {
    let path = file
        .to_str()
        .ok_or_else(|| CliError::Usage(format!("the path {} is not UTF-8", file.display())))?;
    let path = path
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    Ok(format!("sqlite:{path}"))
}

/// A token that the server has just accepted: the chosen one, the kept one, or a new one.
async fn valid_token(
    running: &Running,
    data: &Path,
    chosen: Option<&str>,
) -> Result<String, CliError> {
    let file = data.join("token");
    let kept = fs::read_to_string(&file)
        .ok()
        .map(|text| text.trim().to_owned());
    let organization: OrganizationId = ORGANIZATION.parse().context("an organization id")?;
    let now = SystemClock.now();
    let candidate = chosen.map(str::to_owned).or(kept.clone());
    if let Some(text) = candidate
        && accepts(running, &text).await?
    {
        keep(&file, kept.as_deref(), &text)?;
        return Ok(text);
    }
    let (name, scopes) = (Some("dev"), Scopes::all());
    let (token, text) = match chosen {
        Some(text) => {
            let token = auth::chosen(&organization, name, &scopes, text, now);
            (token, text.to_owned())
        }
        None => auth::mint(&organization, name, &scopes, now).context("no token can be made")?,
    };
    store(running, &token).await?;
    keep(&file, kept.as_deref(), &text)?;
    Ok(text)
}

/// A new token of an organization, for everything that belongs to one; its text.
pub(super) async fn new_token(
    running: &Running,
    organization: &str,
    name: &str,
) -> Result<String, CliError> {
    let organization: OrganizationId = organization.parse().context("an organization id")?;
    let (scopes, now) = (Scopes::of_organization(), SystemClock.now());
    let minted = auth::mint(&organization, Some(name), &scopes, now);
    let (token, text) = minted.context("no token can be made")?;
    store(running, &token).await?;
    Ok(text)
}

/// Stores a token in the ledger of the running server.
async fn store(running: &Running, token: &NewToken) -> Result<(), CliError> {
    let stored = running.store().insert_token(token).await;
    Ok(stored.context("the token can't be stored")?)
}

async fn accepts(running: &Running, token: &str) -> Result<bool, CliError> {
    let url = format!("http://{}", running.address());
    let Ok(client) = Client::new(&url, token, Duration::from_secs(10)) else {
        return Ok(false);
    };
    match client.get(&["runs"], &[("limit", "1".to_owned())]).await {
        Ok(_) => Ok(true),
        Err(error) if error.exit_code() == 5 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Writes the token where only its owner can read it, if it isn't there yet.
fn keep(file: &Path, kept: Option<&str>, text: &str) -> Result<(), CliError> {
    if kept == Some(text) {
        return Ok(());
    }
    let written = write_private(file, text);
    Ok(written.with_context(|| format!("{} can't be written", file.display()))?)
}

fn write_private(file: &Path, text: &str) -> anyhow::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    // A temporary file is readable by its owner only, and takes the place of the old one whole.
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    writeln!(new, "{text}")?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

/// A token that can stand in a header and in a shell's single quotes.
fn token_text(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'\'';
    if text.is_empty() || text.len() > 256 || !text.bytes().all(fits) {
        return Err("a token is 1 to 256 visible ASCII characters without '".to_owned());
    }
    Ok(text.to_owned())
}

fn banner(address: SocketAddr, data: &Path, token: &str, ephemeral: bool) -> String {
    let kept = if ephemeral {
        "until this process ends".to_owned()
    } else {
        data.display().to_string()
    };
    let body = concat!(
        r#"{"definition":{"nodes":{"root":{"type":"manual","payload":{},"#,
        r#""children":["hello"]},"hello":{"type":"log","#,
        r#""payload":{"message":"hello {{root.name}}"}}}},"payload":{"name":"world"}}"#,
    );
    format!(
        "redrive listens on http://{address} (for development: loopback only)\n\
         \n\
         data   {kept}\n\
         token  {token}\n\
         \n\
         Start a run:\n\
         \n\
         curl -s http://{address}/v1/runs -H 'Authorization: Bearer {token}' \
         -H 'Content-Type: application/json' -d '{body}'\n\
         \n\
         Use the command line in another terminal:\n\
         \n\
         export REDRIVE_URL=http://{address} REDRIVE_TOKEN='{token}'\n\
         redrive runs list\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_development_server_is_loopback_and_sqlite_whatever_is_configured() {
        let mut config = Config::default();
        config.server.listen = "0.0.0.0:9000".parse().unwrap();
        config.database.url = Secret::new("postgres://elsewhere/db");
        config.broker.url = Some(Secret::new("amqp://elsewhere"));
        let dev = configure(config.clone(), Path::new("/d?#%"), None).unwrap();
        assert_eq!(dev.server.listen.to_string(), "127.0.0.1:9000");
        assert_eq!(dev.database.url.expose(), "sqlite:/d%3F%23%25/redrive.db");
        assert!(dev.broker.url.is_none());
        let local: std::net::IpAddr = "127.0.0.1".parse().unwrap();
        assert!(
            dev.http
                .allow_networks
                .iter()
                .any(|network| network.contains(&local))
        );
        let dev = configure(config, Path::new("d"), Some(0)).unwrap();
        assert_eq!(dev.server.listen.port(), 0);
    }

    #[cfg(unix)]
    #[test]
    fn the_token_file_is_its_owners_and_holds_the_last_token() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        for text in ["first", "second"] {
            keep(&file, None, text).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap().trim(), text);
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn the_curl_line_holds_json_and_survives_the_shell() {
        let address = "127.0.0.1:8080".parse().unwrap();
        let text = banner(address, Path::new("./.redrive"), "tok", false);
        let line = text.lines().find(|line| line.starts_with("curl")).unwrap();
        let body = line
            .split(" -d '")
            .nth(1)
            .unwrap()
            .strip_suffix('\'')
            .unwrap();
        assert!(!body.contains('\''));
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["definition"]["nodes"]["hello"]["type"], "log");
    }

    #[test]
    fn a_chosen_token_must_fit_a_header_and_a_shell() {
        assert!(token_text("a-Z_9.~").is_ok());
        for bad in ["", "a b", "it's", "é", "a\n"] {
            assert!(token_text(bad).is_err(), "{bad:?}");
        }
    }
}
