//! `weir sign`.

use std::io::Read;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret as _, SecretString};
use weir::{clock, config, signature};

use crate::arguments::SignArguments;
use crate::terminal::say;

/// A source of the secret that is not visible in the list of processes.
const VARIABLE: &str = "WEIR_SECRET";

pub(crate) fn sign(arguments: SignArguments) -> anyhow::Result<ExitCode> {
    let secret = secret(&arguments)?;
    let body = match arguments.body {
        None => Vec::new(),
        Some(path) if path == Path::new("-") => {
            let mut bytes = Vec::new();
            std::io::stdin()
                .read_to_end(&mut bytes)
                .context("cannot read standard input")?;
            bytes
        }
        Some(path) => {
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?
        }
    };
    let at = arguments.at.unwrap_or_else(|| clock::unix_now().as_secs());
    let id = arguments
        .id
        .unwrap_or_else(|| ulid::Ulid::generate().to_string());
    let headers = signature::sign::sign(&arguments.scheme, secret.expose_secret(), at, &id, &body)?;
    for (name, value) in headers {
        say(&format!("{name}: {value}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn secret(arguments: &SignArguments) -> anyhow::Result<SecretString> {
    if let Some(path) = &arguments.secret_file {
        let cannot = || format!("--secret-file: cannot read {}", path.display());
        // A pipe from another program is a file, too.
        let text = Zeroizing::new(std::fs::read_to_string(path).with_context(cannot)?);
        return Ok(SecretString::from(config::as_it_was_meant(&text)));
    }
    if let Some(secret) = &arguments.secret {
        return Ok(SecretString::from(secret.as_str()));
    }
    match std::env::var(VARIABLE) {
        Ok(secret) if !secret.is_empty() => Ok(SecretString::from(secret)),
        Err(std::env::VarError::NotUnicode(_)) => {
            anyhow::bail!("the variable {VARIABLE} is not UTF-8")
        }
        _ => anyhow::bail!(
            "there is no secret to sign with: give --secret-file FILE, set {VARIABLE}, or give --secret SECRET"
        ),
    }
}
