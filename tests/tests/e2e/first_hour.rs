//! The first hour of the README as a new user pastes it: all blocks run in order in one shell.
//!
//! Only the address is replaced, by a loopback address of this test, and with it weir's default ports.

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_tests::ports;
use weir_tests::process::{self, Process};
use weir_tests::wait;

const README: &str = include_str!("../../../README.md");

/// The sections of the first hour, from the one after the build.
const SECTIONS: [&str; 6] = [
    "## Configuration",
    "### Reload",
    "### Upgrade",
    "## Sign a request",
    "## Use it with an OpenAI client",
    "## Read events and metrics",
];

/// The deadline for all of it on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

struct Block {
    language: String,
    text: String,
}

/// The blocks of a section, without its subsections.
fn blocks(heading: &str) -> Vec<Block> {
    let mut lines = README.lines().skip_while(|line| *line != heading);
    assert!(lines.next().is_some(), "README.md has no {heading:?}");
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_open = false;
    for line in lines {
        match line.strip_prefix("```") {
            None if !is_open && line.starts_with('#') => break,
            None if is_open => {
                let block = blocks.last_mut().expect("an open block");
                block.text.push_str(line);
                block.text.push('\n');
            }
            None => {}
            Some(language) => {
                is_open = !is_open;
                if is_open {
                    blocks.push(Block {
                        language: language.to_owned(),
                        text: String::new(),
                    });
                }
            }
        }
    }
    blocks
}

/// Sets the addresses that a configuration leaves at their defaults.
fn with_addresses(yaml: &str, host: &str) -> String {
    format!("{yaml}listen: [{{address: '{host}:8080'}}]\nadmin: {{address: '{host}:8081'}}\n")
}

/// All blocks as one script; each step prints its name, so that failures can be located.
fn script(host: &str) -> String {
    let mut script = String::from("set -u\nsay() { printf '%s\\n' \"== $*\"; }\n");
    // There is no interactive input: the output is checked.
    for heading in SECTIONS {
        for block in blocks(heading) {
            let text = block.text.replace("127.0.0.1", host);
            // The new process is no job of the shell.
            let text = text.replace("weir upgrade", "weir upgrade 2>&1 | tee -a upgraded; :");
            script.push_str(&format!("say '{heading} {}'\n", block.language));
            match block.language.as_str() {
                "yaml" => script.push_str(&format!(
                    "cat > weir.yaml <<'CONFIGURATION'\n{}CONFIGURATION\n",
                    with_addresses(&text, host)
                )),
                "sh" => {
                    let text = text.replace(
                        "weir assistant &",
                        &format!("weir assistant --address {host}:8000 &"),
                    );
                    // The configuration in a here-document gets the same addresses.
                    let (start, rest) = text
                        .split_once("weir.yaml <<'END'\n")
                        .map_or(("", &*text), |(start, rest)| (start, rest));
                    match (start, rest.split_once("END\n")) {
                        ("", _) | (_, None) => script.push_str(&text),
                        (start, Some((yaml, after))) => script.push_str(&format!(
                            "{start}weir.yaml <<'END'\n{}END\n{after}",
                            with_addresses(yaml, host)
                        )),
                    }
                }
                "python" => script.push_str(&python(&text, host)),
                other => panic!("README.md: what is a block of {other:?} in {heading}?"),
            }
        }
    }
    script.push_str(
        "say 'end'\nkill %1 \"$(sed -n 's/^weir: process \\(.*\\) has taken over/\\1/p' upgraded | tail -n 1)\"\nwait\n",
    );
    script
}

/// The lines of the README, and further requests of such a client: a model by name, embeddings, and a recording larger
/// than the default body limit. Without the OpenAI library the same requests are sent without it.
fn python(text: &str, host: &str) -> String {
    let more = "\
print('retrieved', client.models.retrieve('demo').id)
print('embedded', len(client.embeddings.create(model='demo', input='hello').data))
recording = ('speech.wav', b'RIFF' + bytes(12 * 1024 * 1024))
print('heard', client.audio.transcriptions.create(model='demo', file=recording).text)
";
    let by_hand =
        format!("curl -sS -H \"Authorization: Bearer $WEB_KEY\" http://{host}:8080/v1/models\n");
    format!(
        "if python3 -c 'import openai' 2>/dev/null; then\npython3 - <<'PYTHON'\n{text}{more}PYTHON\n\
         else\nsay 'no openai'\n{by_hand}fi\n"
    )
}

/// A directory with the programs that `make install` installs.
fn installed(directory: &Path) -> PathBuf {
    let programs = directory.join("bin");
    std::fs::create_dir(&programs).expect("a folder");
    std::os::unix::fs::symlink(process::weir(), programs.join("weir")).expect("a link");
    programs
}

#[tokio::test]
async fn the_first_hour_of_the_readme_works() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let [.., high, low] = std::process::id().to_be_bytes();
    let host = format!("127.{high}.{low}.8");
    let programs = installed(directory.path());
    let work = directory.path().join("work");
    std::fs::create_dir(&work).expect("a folder");
    let path = std::env::var("PATH").expect("a path");
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/openai");
    // A clean environment.
    let command = format!(
        "exec env -i HOME={home} PATH={programs}:{path} PYTHONPATH={modules} bash --norc --noprofile paste.sh",
        home = work.display(),
        programs = programs.display(),
        modules = modules.display(),
    );
    std::fs::write(work.join("paste.sh"), script(&host)).expect("written");
    let shell = Process::program(Path::new("sh"), &work, &["-c", &command]);
    let ended = shell.finished(PATIENCE).await;
    let output = format!("{}\n-- stderr\n{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, Some(0), "{output}");

    let (stdout, stderr) = (&ended.stdout, &ended.stderr);
    assert!(
        stdout.contains("weir.yaml: valid; routes: 1, backends: 1"),
        "{output}"
    );
    assert!(stdout.contains(r#"{"status":"ready"}"#), "{output}");
    let upgrades = stdout.matches("has taken over").count();
    assert_eq!(upgrades, 2, "{output}");
    for invalid in [
        "command not found",
        "warning",
        "rror",
        "Connection refused",
        "No such file",
    ] {
        assert!(!stderr.contains(invalid), "{invalid}: {output}");
    }
    assert!(
        stdout.contains(r#""needs_restart":[],"outcome":"applied""#),
        "{output}"
    );
    assert!(
        stdout.matches("chat.completion").count() >= 1,
        "a signed response: {output}"
    );
    assert!(
        !stdout.contains("application/problem+json") && !stdout.contains("\"error_code\":"),
        "{output}"
    );
    if stdout.contains("== no openai") {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "build/setup.sh test installs openai"
        );
        assert!(stdout.contains("demo-embedding"), "{output}");
    } else {
        assert!(stdout.contains("['demo', 'demo-embedding']"), "{output}");
        assert!(stdout.contains("retrieved demo"), "{output}");
        assert!(stdout.contains("embedded 1"), "{output}");
        assert!(stdout.contains("heard You said 12"), "{output}");
    }
    assert!(
        stdout.contains(r#""dataset":"weir.access""#),
        "the last events: {output}"
    );
    assert!(
        stdout.contains("\nweir_requests_total{"),
        "the metrics: {output}"
    );
}

#[tokio::test]
async fn commands_printed_by_the_demo_work() {
    let directory = tempfile::TempDir::new().expect("a directory");
    let base = ports::three_consecutive().to_string();
    let demo = [
        "demo",
        "--port-base",
        &base,
        "--latency",
        "20ms",
        "--token-interval",
        "1ms",
    ];
    let demo = Process::start(directory.path(), &demo, &[], b"");
    let banner = wait::found("the banner", wait::PATIENCE, || {
        assert!(demo.exit().is_none(), "{}", demo.stderr());
        let output = demo.stdout();
        output.contains("Ctrl-C stops it.").then_some(output)
    })
    .await;
    let (_, blocks) = banner.split_once("on this machine.\n").expect("blocks");
    let (blocks, _) = blocks.split_once("Ctrl-C").expect("their end");
    // Alerts are listed before the first request and the first evaluation.
    let (before, alerts) = blocks.split_once("# alerts").expect("the alerts");
    let script = format!("set -u\n# alerts{alerts}\necho\n{before}");
    std::fs::write(directory.path().join("paste.sh"), script).expect("written");
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/openai");
    let command = format!("PYTHONPATH={} exec bash paste.sh", modules.display());
    let shell = Process::program(Path::new("sh"), directory.path(), &["-c", &command]);
    let ended = shell.finished(PATIENCE).await;
    let output = format!("{}\n-- stderr\n{}", ended.stdout, ended.stderr);
    for part in [
        r#""rule":"ErrorRate""#,
        "HTTP/1.1 200",
        "cache-status: weir; hit",
        "data: [DONE]",
        "HTTP/1.1 401",
        // Then 429, unless the machine is slower than the limit.
        "\n200 200 ",
        "weir_requests_total{",
        r#""dataset":"weir.access""#,
    ] {
        assert!(output.contains(part), "{part}: {output}");
    }
    if !output.contains("No module named 'openai'") {
        assert!(output.contains("['demo', 'demo-embedding']"), "{output}");
        assert_eq!(ended.stderr, "", "{output}");
    }
}

/// The steps before that: every target after `make` exists in the Makefile.
#[test]
fn documented_make_targets_exist() {
    let makefile = include_str!("../../../Makefile");
    let words: Vec<_> = blocks("## Quick start")
        .iter()
        .flat_map(|block| block.text.lines())
        .map(|line| {
            line.strip_prefix("make ")
                .expect("a word of make")
                .to_owned()
        })
        .collect();
    assert!(words.contains(&"install".to_owned()), "{words:?}");
    for word in words {
        assert!(makefile.contains(&format!("\n{word}: ## ")), "make {word}");
    }
}
