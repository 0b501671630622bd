//! Files that change in every way they do: swapped links, rotated secrets, half-written and missing files.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use weir_tests::backend::Backend;
use weir_tests::certs::Authority;
use weir_tests::client::{ClientRequest, ClientResponse};
use weir_tests::process::Process;
use weir_tests::proxy::Proxy;
use weir_tests::setup::Setup;
use weir_tests::sign::{bearer, fresh_id};
use weir_tests::wait;

use super::{reload, reloads_when, replace, status};

/// Reads a second apart that agree are at least this far from each other.
const READS_APART: Duration = Duration::from_secs(1);

/// A route that a key opens; the key is in a file.
fn keyed(name: &str, key_file: &Path) -> String {
    let file = key_file.display();
    format!(
        "- {{name: {name}, path: /*, backend: assistant, signature: {{scheme: bearer, secrets: [\"${{file:{file}}}\"]}}}}"
    )
}

async fn with_key(proxy: &Proxy, key: &str) -> ClientResponse {
    proxy
        .send(ClientRequest::get("/").headers(bearer(key)))
        .await
}

#[tokio::test]
async fn a_rotated_secret_needs_no_restart() {
    let backend = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let key_file = directory.path().join("key");
    std::fs::write(&key_file, "the first secret key\n").expect("written");
    let setup = Setup::new(&backend).routes(&keyed("all", &key_file));
    let proxy = setup.start().await;
    assert_eq!(with_key(&proxy, "the first secret key").await.status, 200);
    replace(&key_file, "the second secret key\n");
    reloads_when(&proxy, "applied", 1.0).await;
    assert_eq!(with_key(&proxy, "the first secret key").await.status, 401);
    assert_eq!(with_key(&proxy, "the second secret key").await.status, 200);
    let stderr = proxy.stderr();
    assert!(stderr.contains("routes[all].signature.secrets"), "{stderr}");
    assert!(!stderr.contains("secret key"), "{stderr}");
    // Gone: rejected, and the last key stays valid.
    std::fs::remove_file(&key_file).expect("removed");
    let report = reload(&proxy).await;
    assert_eq!(report["outcome"], "rejected");
    let message = report["errors"][0]["message"].as_str().expect("a message");
    assert!(message.contains("cannot be read"), "{message}");
    assert_eq!(with_key(&proxy, "the second secret key").await.status, 200);
}

/// As the kubelet updates a mounted ConfigMap: a new folder, and `..data` is renamed to it.
fn swap(mount: &Path, version: &str, files: &[(&str, &str)]) {
    let folder = mount.join(format!("..{version}"));
    std::fs::create_dir(&folder).expect("a folder");
    for (name, text) in files {
        std::fs::write(folder.join(name), text).expect("written");
        if !mount.join(name).exists() {
            symlink(format!("..data/{name}"), mount.join(name)).expect("a link");
        }
    }
    symlink(format!("..{version}"), mount.join("..data_tmp")).expect("a link");
    std::fs::rename(mount.join("..data_tmp"), mount.join("..data")).expect("renamed");
}

#[tokio::test]
async fn a_swapped_data_link_is_one_change_of_all_its_files() {
    let backend = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let mount = directory.path().join("mount");
    std::fs::create_dir(&mount).expect("a folder");
    let data = directory.path().to_owned();
    let text = |name: &str| {
        let setup = Setup::new(&backend).routes(&keyed(name, &mount.join("key")));
        setup.yaml(&data)
    };
    let key = |version| format!("the key of version {version}");
    // The links resolve once `..data` exists.
    swap(
        &mount,
        "1",
        &[("weir.yaml", &text("one")), ("key", &key(1))],
    );
    let file = mount.join("weir.yaml");
    let arguments = ["run", "--config", file.to_str().expect("UTF-8")];
    let process = Process::start(directory.path(), &arguments, &[], b"");
    let proxy = Proxy::ready(process, directory).await;
    assert_eq!(with_key(&proxy, &key(1)).await.status, 200);
    for version in 2..5 {
        let name = format!("version{version}");
        let files = [("weir.yaml", &*text(&name)), ("key", &*key(version))];
        swap(&mount, &version.to_string(), &files);
        reloads_when(&proxy, "applied", f64::from(version - 1)).await;
        let response = with_key(&proxy, &key(version)).await;
        assert_eq!(response.status, 200);
        let event = proxy.event_of(&response).await;
        assert_eq!(event["route"], name);
    }
    let metrics = proxy.metrics().await;
    let outcomes = ["applied", "rejected", "unchanged"];
    let counts =
        outcomes.map(|outcome| metrics.sum("weir_config_reloads_total", &[("outcome", outcome)]));
    assert_eq!(counts, [3.0, 0.0, 0.0]);
}

/// Writes the file in pieces, longer than two reads take; returns whether no pause was as long as two reads are
/// apart, which a busy machine cannot guarantee.
async fn write_in_pieces(proxy: &Proxy, half: &str, rest: &str) -> bool {
    let path = proxy.directory().join("weir.yaml");
    let begun = weir::clock::now();
    let (mut text, mut last, mut longest) = (half.to_owned(), begun, Duration::ZERO);
    while begun.elapsed() < READS_APART * 3 {
        text.push_str("# more\n");
        std::fs::write(&path, &text).expect("written");
        longest = longest.max(last.elapsed());
        last = weir::clock::now();
        // Valid, and open: nobody gets in.
        assert_eq!(status(proxy, "/").await, 401);
        wait::tick().await;
    }
    longest = longest.max(last.elapsed());
    std::fs::write(&path, format!("{half}{rest}")).expect("written");
    longest < READS_APART - Duration::from_millis(200)
}

#[tokio::test]
async fn a_half_written_file_is_not_applied_though_it_is_valid() {
    let backend = Backend::echo().await;
    let half = "\
admin: {address: '127.0.0.1:0'}
listen: [{address: '127.0.0.1:0'}]
backends: [{name: assistant, endpoints: [URL]}]
routes:
  - name: all
    path: /*
    backend: assistant
"
    .replace("URL", &backend.url());
    let secret = |secret: &str| {
        format!("    signature: {{scheme: bearer, secrets: [{secret} secret key]}}\n")
    };
    let setup = Setup::new(&backend).routes(
        "- {name: all, path: /*, backend: assistant, signature: {scheme: bearer, secrets: [a secret key]}}",
    );
    let proxy = setup.start().await;
    let mut applied = 0.0;
    let rejected = async || {
        let metrics = proxy.metrics().await;
        metrics.sum("weir_config_reloads_total", &[("outcome", "rejected")])
    };
    loop {
        let before = rejected().await;
        let key = fresh_id();
        let paced = write_in_pieces(&proxy, &half, &secret(&key)).await;
        applied += 1.0;
        reloads_when(&proxy, "applied", applied).await;
        let key = format!("{key} secret key");
        assert_eq!(with_key(&proxy, &key).await.status, 200);
        if paced {
            assert_eq!(rejected().await, before);
            break;
        }
    }
}

#[tokio::test]
async fn a_file_that_is_gone_and_comes_back_changes_nothing_in_between() {
    let backend = Backend::echo().await;
    let setup = Setup::open(&backend);
    let proxy = setup.start().await;
    let path = proxy.directory().join("weir.yaml");
    std::fs::remove_file(&path).expect("removed");
    reloads_when(&proxy, "rejected", 1.0).await;
    assert_eq!(status(&proxy, "/").await, 200);
    // It is looked for again, and not reported again.
    let still_gone = std::future::pending::<()>();
    assert!(wait::still_waiting_after(READS_APART * 3, still_gone).await);
    let reports = proxy.stderr().matches("weir.yaml: cannot be read").count();
    assert_eq!(reports, 1, "{}", proxy.stderr());
    let other = Setup::new(&backend).routes("- {name: all, path: /other, backend: assistant}");
    std::fs::write(&path, other.yaml(proxy.directory())).expect("written");
    reloads_when(&proxy, "applied", 1.0).await;
    assert_eq!(status(&proxy, "/").await, 404);
    assert_eq!(status(&proxy, "/other").await, 200);
}

/// The PEM files of a backend: the CA that it trusts, and the certificate that it presents.
fn write_tls(directory: &Path, authority: &Authority, clients: &Authority) {
    replace(&directory.join("ca.pem"), authority.pem());
    let _ = clients.issue(directory);
}

#[tokio::test]
async fn rotated_pem_files_of_a_backend_apply_to_new_connections_and_invalid_ones_change_nothing() {
    let service = Backend::echo().await;
    let directory = tempfile::TempDir::new().expect("a directory");
    let pem = directory.path();
    // The old server and the new one: neither trusts, nor is trusted by, what the other one is.
    let authorities = [(); 2].map(|()| (Authority::new(), Authority::new()));
    let mut setup = Setup::without_backend();
    let mut servers = Vec::new();
    for (name, (authority, clients)) in ["old", "new"].into_iter().zip(&authorities) {
        let tls = Backend::behind_mutual_tls(authority, clients, service.address()).await;
        let endpoint = format!("https://localhost:{}", tls.address().port());
        let file = |name: &str| pem.join(name).display().to_string();
        let (ca_file, certificate, key) = (file("ca.pem"), file("tls.crt"), file("tls.key"));
        let files = format!("tls: {{ca_file: {ca_file}, certificate: {certificate}, key: {key}}}");
        setup = setup
            .backend(name, &[endpoint], &["retry: {attempts: 1}", &files])
            .routes(&format!(
                "- {{name: {name}, path: /{name}, backend: {name}}}"
            ));
        servers.push(tls);
    }
    let [(old, old_clients), (new, new_clients)] = &authorities;
    write_tls(pem, old, old_clients);
    let proxy = setup.start().await;
    assert_eq!(status(&proxy, "/old").await, 200);
    assert_eq!(status(&proxy, "/new").await, 502);
    write_tls(pem, new, new_clients);
    // By the request or by the watch, whichever comes first.
    let report = reload(&proxy).await;
    assert_ne!(report["outcome"], "rejected", "{report}");
    assert_eq!(status(&proxy, "/new").await, 200);
    assert_eq!(status(&proxy, "/old").await, 502);
    let connections = servers[1].connections();
    let (certificate, key) = (pem.join("tls.crt"), pem.join("tls.key"));
    let valid = [&certificate, &key].map(|file| std::fs::read_to_string(file).expect("read"));
    for (file, text) in [
        (pem.join("ca.pem"), "no certificate"),
        (certificate.clone(), old.pem()),
        (key.clone(), &*valid[0]),
    ] {
        replace(&file, text);
        let report = reload(&proxy).await;
        assert_eq!(report["outcome"], "rejected", "{}", file.display());
        assert_eq!(status(&proxy, "/new").await, 200, "{}", file.display());
        replace(&pem.join("ca.pem"), new.pem());
        replace(&certificate, &valid[0]);
        replace(&key, &valid[1]);
        assert_eq!(reload(&proxy).await["outcome"], "unchanged");
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let opened = servers[1].connections() - connections;
    assert!(opened < workers, "the pools are those of before: {opened}");
}
