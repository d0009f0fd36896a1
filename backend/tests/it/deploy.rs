//! The files of `deploy/`: they name settings that there are, and parts that there are.

use std::{collections::BTreeSet, fs, path::Path};

use serde::Deserialize as _;
use serde_json::Value;

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    fs::read_to_string(folder.join(name)).expect("a file of deploy/")
}

fn documents(name: &str) -> Vec<Value> {
    let text = read(name);
    yaml_serde::Deserializer::from_str(&text)
        .map(|document| {
            let mut value = yaml_serde::Value::deserialize(document).expect("YAML");
            value.apply_merge().expect("merged");
            serde_json::to_value(value).expect("as JSON")
        })
        .collect()
}

fn settings() -> BTreeSet<&'static str> {
    pulseboard::settings::table().map(|spec| spec.env).collect()
}

fn keys(value: &Value) -> BTreeSet<&str> {
    let entries = value.as_object().expect("a mapping");
    entries.keys().map(String::as_str).collect()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

#[test]
fn the_compose_file_names_what_there_is() {
    let [compose] = documents("compose/compose.yaml").try_into().expect("one");
    let services = &compose["services"];
    let (names, known) = (keys(services), settings());
    let volumes = keys(&compose["volumes"]);
    let backends: Vec<&&str> = names
        .iter()
        .filter(|name| name.starts_with("pulseboard-"))
        .collect();
    assert_eq!(backends.len(), 3);
    let mut instances = BTreeSet::new();
    for name in &names {
        let service = &services[name];
        assert!(service["image"].is_string(), "{name}");
        let waits: Vec<&str> = match &service["depends_on"] {
            Value::Object(waits) => waits.keys().map(String::as_str).collect(),
            waits => texts(waits).collect(),
        };
        assert!(
            waits.iter().all(|one| names.contains(one)),
            "{name}: {waits:?}"
        );
        for mount in texts(&service["volumes"]) {
            let (volume, _) = mount.split_once(':').expect("a volume and a place");
            assert!(volumes.contains(volume), "{name}: {volume}");
        }
    }
    for name in backends {
        let service = &services[name];
        let given = keys(&service["environment"]);
        assert!(given.is_subset(&known), "{name}: {given:?}");
        instances.insert(service["environment"]["INSTANCE"].as_str().expect("a name"));
        assert_eq!(service["read_only"], true);
        assert_eq!(service["user"], "65532:65532");
        let redis = service["environment"]["REDIS_URL"]
            .as_str()
            .expect("an address");
        let (_, hosts) = redis.split_once("://").expect("a scheme");
        let (hosts, _) = hosts.split_once('/').expect("the primary's name");
        for host in hosts.split(',') {
            let (host, _) = host.split_once(':').expect("a port");
            assert!(names.contains(host), "{host}");
        }
        // The balancer asks each of them, by this name.
        assert!(read("haproxy.cfg").contains(&format!(" {name}:3000\n")));
    }
    assert_eq!(instances.len(), 3, "each has a name of its own");
    for config in compose["configs"].as_object().expect("files").values() {
        let file = config["file"].as_str().expect("a file");
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose");
        assert!(folder.join(file).is_file(), "{file}");
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/compose/prometheus.yml");
    pulseboard::scraping::check(Some(&file)).expect("a prometheus.yml");
}

#[test]
fn the_manifests_name_what_there_is() {
    let manifests = documents("kubernetes/pulseboard.yaml");
    let of_kind = |kind: &str| {
        let found: Vec<&Value> = manifests.iter().filter(|one| one["kind"] == kind).collect();
        found
    };
    for manifest in &manifests {
        for part in ["apiVersion", "kind"] {
            assert!(manifest[part].is_string(), "{manifest}");
        }
        assert!(manifest["metadata"]["name"].is_string(), "{manifest}");
    }
    let [set] = of_kind("StatefulSet")[..] else {
        panic!("one set of backends");
    };
    let template = &set["spec"]["template"];
    let labels = &template["metadata"]["labels"];
    assert_eq!(&set["spec"]["selector"]["matchLabels"], labels);
    let [budget] = of_kind("PodDisruptionBudget")[..] else {
        panic!("one budget");
    };
    assert_eq!(&budget["spec"]["selector"]["matchLabels"], labels);
    let services = of_kind("Service");
    assert!(
        services
            .iter()
            .all(|service| &service["spec"]["selector"] == labels)
    );
    let heads: Vec<&&Value> = services
        .iter()
        .filter(|service| service["metadata"]["name"] == set["spec"]["serviceName"])
        .collect();
    assert_eq!(heads[0]["spec"]["clusterIP"], "None");

    let pod = &template["spec"];
    let container = &pod["containers"][0];
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(asked["port"], container["ports"][0]["name"], "{probe}");
        let path = asked["path"].as_str().expect("a path");
        assert!(["/healthz", "/readyz"].contains(&path), "{path}");
    }
    assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(
        container["securityContext"]["allowPrivilegeEscalation"],
        false
    );
    assert_eq!(
        container["securityContext"]["capabilities"]["drop"][0],
        "ALL"
    );
    let claims = &set["spec"]["volumeClaimTemplates"];
    for mount in container["volumeMounts"].as_array().expect("mounts") {
        let claimed = claims.as_array().into_iter().flatten();
        let mut names = claimed.map(|claim| &claim["metadata"]["name"]);
        assert!(names.any(|name| *name == mount["name"]), "{mount}");
    }
    let known = settings();
    let [map] = of_kind("ConfigMap")[..] else {
        panic!("one map of settings");
    };
    let given = keys(&map["data"]);
    assert!(given.is_subset(&known), "{given:?}");
    for variable in container["env"].as_array().expect("variables") {
        let name = variable["name"].as_str().expect("a name");
        assert!(known.contains(name), "{name}");
    }
    for line in read("kubernetes/pulseboard.yaml").lines() {
        if let Some((_, rest)) = line.split_once("--from-literal=") {
            let (name, _) = rest.split_once('=').expect("a name");
            assert!(known.contains(name), "{name}");
        }
    }
}

#[test]
fn the_units_are_units() {
    let unit =
        pulseboard_agent::unit::unit("/usr/local/bin/pulseboard", "https://hub.example.org:3000");
    assert_eq!(read("systemd/pulseboard-agent.service"), unit);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    let temporary = tempfile::tempdir().expect("a temporary folder");
    for name in ["pulseboard.service", "pulseboard-agent.service"] {
        // The program is not installed where tests run.
        let text = fs::read_to_string(folder.join(name)).expect("a unit");
        let file = temporary.path().join(name);
        fs::write(
            &file,
            text.replace("/usr/local/bin/pulseboard", "/bin/true"),
        )
        .expect("written");
        let verified = std::process::Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&file)
            .output();
        let Ok(verified) = verified else {
            eprintln!("skipped: there is no systemd-analyze here");
            return;
        };
        let said = String::from_utf8_lossy(&verified.stderr);
        let about: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(about.is_empty(), "{about:?}");
    }
}
