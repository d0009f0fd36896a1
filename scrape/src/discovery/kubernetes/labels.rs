//! Labels of objects, as Prometheus' documentation of `<kubernetes_sd_config>` has them. Pure.

use serde_json::Value;

use crate::{
    discovery::meta::{label_name, list, text},
    labels::LabelSet,
};

const PREFIX: &str = "__meta_kubernetes_";

pub(super) fn set(labels: &mut LabelSet, name: &str, value: &str) {
    labels.set(&format!("{PREFIX}{name}"), value);
}

/// Name, namespace, labels and annotations of an object, under the name of its kind.
pub(super) fn described(item: &Value, kind: &str) -> LabelSet {
    let mut labels = LabelSet::new();
    set(&mut labels, "namespace", &text(item, "/metadata/namespace"));
    set(
        &mut labels,
        &format!("{kind}_name"),
        &text(item, "/metadata/name"),
    );
    for (what, place) in [
        ("label", "/metadata/labels"),
        ("annotation", "/metadata/annotations"),
    ] {
        let map = item.pointer(place).and_then(Value::as_object);
        for (name, value) in map.into_iter().flatten() {
            let name = label_name(name);
            let value = value.as_str().unwrap_or_default();
            set(&mut labels, &format!("{kind}_{what}_{name}"), value);
            set(&mut labels, &format!("{kind}_{what}present_{name}"), "true");
        }
    }
    labels
}

/// Host and port, as an address has them.
pub(super) fn host_port(host: &str, port: &str) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// What is told of a service, also of endpoints that are its.
pub(super) fn service_labels(item: &Value) -> LabelSet {
    described(item, "service")
}

pub(super) fn protocol(port: &Value) -> String {
    let named = text(port, "/protocol");
    if named.is_empty() {
        "TCP".to_owned()
    } else {
        named
    }
}

/// What is told of a pod, also of endpoints that lead to it.
pub(super) fn pod_labels(item: &Value) -> LabelSet {
    let mut labels = described(item, "pod");
    let conditions = list(item, "/status/conditions").iter();
    let mut ready = conditions
        .filter(|one| text(one, "/type") == "Ready")
        .map(|one| text(one, "/status"));
    let ready = ready.next_back().unwrap_or_else(|| "unknown".to_owned());
    for (name, value) in [
        ("pod_ip", text(item, "/status/podIP")),
        ("pod_ready", ready.to_ascii_lowercase()),
        ("pod_phase", text(item, "/status/phase")),
        ("pod_node_name", text(item, "/spec/nodeName")),
        ("pod_host_ip", text(item, "/status/hostIP")),
        ("pod_uid", text(item, "/metadata/uid")),
    ] {
        set(&mut labels, name, &value);
    }
    let mut owners = list(item, "/metadata/ownerReferences").iter();
    if let Some(owner) = owners.rfind(|owner| owner["controller"] == true) {
        set(&mut labels, "pod_controller_kind", &text(owner, "/kind"));
        set(&mut labels, "pod_controller_name", &text(owner, "/name"));
    }
    labels
}

/// A container's labels, and those of one of its ports where it names one.
pub(super) fn container_labels(
    item: &Value,
    container: &Value,
    is_init: bool,
    port: Option<&Value>,
) -> LabelSet {
    let mut labels = LabelSet::new();
    let name = text(container, "/name");
    let place = if is_init {
        "/status/initContainerStatuses"
    } else {
        "/status/containerStatuses"
    };
    let status = list(item, place)
        .iter()
        .find(|status| text(status, "/name") == name);
    let id = status
        .map(|status| text(status, "/containerID"))
        .unwrap_or_default();
    set(&mut labels, "pod_container_id", &id);
    set(&mut labels, "pod_container_name", &name);
    set(
        &mut labels,
        "pod_container_image",
        &text(container, "/image"),
    );
    set(
        &mut labels,
        "pod_container_init",
        if is_init { "true" } else { "false" },
    );
    if let Some(port) = port {
        set(&mut labels, "pod_container_port_name", &text(port, "/name"));
        set(
            &mut labels,
            "pod_container_port_number",
            &text(port, "/containerPort"),
        );
        set(&mut labels, "pod_container_port_protocol", &protocol(port));
    }
    labels
}
