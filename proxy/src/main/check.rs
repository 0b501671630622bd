//! `weir check`.

use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use weir::config::{self, Loaded, Mistakes};

use crate::arguments::{CheckArguments, Format};
use crate::terminal::{note, say};

pub(crate) fn check(arguments: &CheckArguments) -> anyhow::Result<ExitCode> {
    let asked = arguments.config.as_deref().or(arguments.file.as_deref());
    let found = config::find(asked);
    let loaded = found.and_then(|path| config::load(&path).map(|loaded| (path, loaded)));
    match arguments.format {
        Format::Text => match &loaded {
            Ok((path, loaded)) => tell(path, loaded)?,
            Err(mistakes) => note(mistakes),
        },
        Format::Json => {
            let report = match &loaded {
                Ok((path, loaded)) => valid(path, loaded),
                Err(mistakes) => invalid(mistakes),
            };
            say(&serde_json::to_string_pretty(&report)?)?;
        }
    }
    Ok(match loaded {
        Err(_) => ExitCode::FAILURE,
        Ok((_, loaded)) if arguments.strict && !loaded.warnings.is_empty() => {
            if arguments.format == Format::Text {
                note("weir: a warning is a failure with --strict");
            }
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
    })
}

fn tell(path: &Path, loaded: &Loaded) -> anyhow::Result<()> {
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

fn valid(path: &Path, loaded: &Loaded) -> Value {
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

fn invalid(mistakes: &Mistakes) -> Value {
    let list = mistakes.list.iter().map(|mistake| {
        json!({
            "line": mistake.line,
            "column": mistake.column,
            "message": mistake.message,
            "source_line": mistake.source_line,
        })
    });
    json!({
        "file": mistakes.file.display().to_string(),
        "valid": false,
        "warnings": [],
        "mistakes": list.collect::<Vec<_>>(),
    })
}
