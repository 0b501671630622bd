//! `weir check`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use weir::config::{self, ConfigError, LoadedConfig};

use crate::arguments::{CheckArguments, OutputFormat};
use crate::terminal::{note, say};

pub(crate) fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let given = arguments.config.as_deref().or(arguments.file.as_deref());
    let found = config::find(given);
    let loaded = found.and_then(|path| config::load(&path).map(|loaded| (path, loaded)));
    match arguments.format {
        OutputFormat::Text => match &loaded {
            Ok((path, loaded)) => report(path, loaded)?,
            Err(error) => note(error),
        },
        OutputFormat::Json => {
            let report = match &loaded {
                Ok((path, loaded)) => valid(path, loaded),
                Err(error) => invalid(error),
            };
            say(&serde_json::to_string_pretty(&report)?)?;
        }
    }
    Ok(match loaded {
        Err(_) => ExitCode::FAILURE,
        Ok((_, loaded)) if arguments.strict && !loaded.warnings.is_empty() => {
            if arguments.format == OutputFormat::Text {
                note("weir: warnings are errors with --strict");
            }
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
    })
}

fn report(path: &Path, loaded: &LoadedConfig) -> anyhow::Result<()> {
    let config = &loaded.config;
    for warning in &loaded.warnings {
        note(format_args!("weir: warning: {warning}"));
    }
    say(&format!(
        "{}: valid; routes: {}, backends: {}",
        path.display(),
        config.routes.len(),
        config.backends.len()
    ))
}

fn valid(path: &Path, loaded: &LoadedConfig) -> Value {
    let config = &loaded.config;
    let warnings = loaded.warnings.iter().map(
        |warning| json!({"line": warning.line, "key": warning.key, "message": warning.to_string()}),
    );
    json!({
        "file": path.display().to_string(),
        "valid": true,
        "routes": config.routes.len(),
        "backends": config.backends.len(),
        "warnings": warnings.collect::<Vec<_>>(),
        "mistakes": [],
    })
}

fn invalid(error: &ConfigError) -> Value {
    let list = error.list.iter().map(|diagnostic| {
        json!({
            "line": diagnostic.line,
            "column": diagnostic.column,
            "message": diagnostic.message,
            "source_line": diagnostic.source_line,
        })
    });
    json!({
        "file": error.file.display().to_string(),
        "valid": false,
        "warnings": [],
        "mistakes": list.collect::<Vec<_>>(),
    })
}
