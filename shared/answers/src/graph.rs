//! The lineage of images as a graph: as JSON for programs, and as text for Graphviz and Mermaid.

use std::fmt::Write;

use domain::{
    fact::Cause,
    image::{Image, Registry, Tag},
    lineage::{PlacementStatus, Whereabouts},
    time::time_text,
};
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::{Shown, ShownImage};

/// A lineage as nodes and edges.
#[derive(Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Graph {
    /// Images by digest, each with its placements: those where it was pushed, then its replicas.
    pub nodes: Vec<Node>,
    /// Pushes, replications and deletions, in the order of their nodes.
    pub edges: Vec<Edge>,
}

/// A node of the graph.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Node {
    /// The node's id within the graph, such as `d0` or `r0_1`.
    pub id: String,
    /// An image, or its placement in a registry.
    #[serde(flatten)]
    pub kind: NodeKind,
}

/// The kind of a node.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NodeKind {
    /// An image.
    Digest {
        /// The repository and digest of the image.
        #[serde(flatten)]
        image: Image,
    },
    /// The placement of the image in a registry.
    Registry {
        /// The registry.
        registry: Registry,
        /// The status of the placement; absent if no event reported the image there.
        #[serde(skip_serializing_if = "Option::is_none")]
        status: Option<PlacementStatus>,
        /// The image's tags in the registry, by name.
        tags: Vec<Tag>,
        /// Whether the replica's source no longer has the image.
        orphan: bool,
    },
}

/// A push, replication or deletion between two nodes.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Edge {
    /// The id of the node where the edge starts.
    pub from: String,
    /// The id of the node where the edge ends.
    pub to: String,
    /// The kind of the edge.
    #[serde(flatten)]
    pub kind: EdgeKind,
    /// The newest time at which it happened.
    pub at: Timestamp,
}

/// The kind of an edge.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum EdgeKind {
    /// The image was pushed to the registry.
    Pushed,
    /// The first registry replicated the image to the second.
    Replicated {
        /// Replication lag in seconds, from the push until the replica was there.
        #[serde(skip_serializing_if = "Option::is_none")]
        lag_seconds: Option<i64>,
    },
    /// The image was deleted from the registry.
    Deleted {
        /// The cause, as text.
        cause: String,
    },
    /// The replica was deleted because the first registry, its source, had deleted the image.
    Mirrored,
}

impl Graph {
    /// The graph of the answer to `show`.
    #[must_use]
    pub fn of(shown: &Shown) -> Self {
        let mut graph = Self::default();
        shown.images.iter().enumerate().for_each(|(number, image)| graph.add(number, image));
        graph
    }

    fn add(&mut self, number: usize, shown: &ShownImage) {
        let digest = format!("d{number}");
        self.nodes.push(Node { id: digest.clone(), kind: NodeKind::Digest { image: shown.image.clone() } });
        let mut registries: Vec<&Registry> = shown.registries.iter().map(|place| &place.registry).collect();
        for from in shown.registries.iter().flat_map(|place| &place.replicated_from) {
            if !registries.contains(&&from.registry) {
                registries.push(&from.registry);
            }
        }
        let id = |registry: &Registry| {
            let place = registries.iter().position(|known| *known == registry).unwrap_or(registries.len());
            format!("r{number}_{place}")
        };
        for registry in &registries {
            let place = shown.registries.iter().find(|place| place.registry == **registry);
            let kind = NodeKind::Registry {
                registry: (*registry).clone(),
                status: place.map(|place| place.status),
                tags: place.map(|place| place.tags.iter().cloned().collect()).unwrap_or_default(),
                orphan: place.is_some_and(|place| place.orphan),
            };
            self.nodes.push(Node { id: id(registry), kind });
        }
        for place in &shown.registries {
            self.edges.extend(edges(place, &digest, id));
        }
    }

    /// The graph in the DOT language of Graphviz. <https://graphviz.org/doc/info/lang.html>
    #[must_use]
    pub fn dot(&self) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"));
        let mut text = String::from("digraph lineage {\n  rankdir=LR;\n  node [fontname=\"sans-serif\"];\n");
        for node in &self.nodes {
            let shape = match &node.kind {
                NodeKind::Digest { .. } => "shape=note",
                NodeKind::Registry { status: Some(PlacementStatus::Present), .. } => "shape=box, color=\"#1a7f37\"",
                NodeKind::Registry { status: Some(PlacementStatus::Archived), .. } => "shape=box, color=\"#0969da\"",
                NodeKind::Registry { status: Some(PlacementStatus::Absent), .. } => {
                    "shape=box, style=dashed, color=\"#cf222e\""
                }
                NodeKind::Registry { .. } => "shape=box, style=dotted, color=\"#9a6700\"",
            };
            _ = writeln!(text, "  {} [label={}, {shape}];", node.id, quoted(&node.label("\n")));
        }
        for edge in &self.edges {
            let style = match &edge.kind {
                EdgeKind::Pushed | EdgeKind::Replicated { .. } => "",
                EdgeKind::Deleted { .. } => ", style=dashed, color=\"#cf222e\"",
                EdgeKind::Mirrored => ", style=dashed",
            };
            _ = writeln!(text, "  {} -> {} [label={}{style}];", edge.from, edge.to, quoted(&edge.label("\n")));
        }
        text + "}\n"
    }

    /// The graph as a Mermaid flowchart. <https://mermaid.js.org/syntax/flowchart.html>
    #[must_use]
    pub fn mermaid(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('#', "#35;").replace('"', "#quot;"));
        let mut text = String::from("flowchart LR\n");
        for node in &self.nodes {
            let label = quoted(&node.label("<br>"));
            _ = match &node.kind {
                NodeKind::Digest { .. } => writeln!(text, "  {}([{label}])", node.id),
                NodeKind::Registry { .. } => writeln!(text, "  {}[{label}]", node.id),
            };
        }
        for edge in &self.edges {
            let arrow = match &edge.kind {
                EdgeKind::Pushed | EdgeKind::Replicated { .. } => "-->",
                EdgeKind::Deleted { .. } | EdgeKind::Mirrored => "-.->",
            };
            _ = writeln!(text, "  {} {arrow}|{}| {}", edge.from, quoted(&edge.label("<br>")), edge.to);
        }
        text
    }
}

fn edges(place: &Whereabouts, digest: &str, id: impl Fn(&Registry) -> String) -> Vec<Edge> {
    let to = id(&place.registry);
    let edge = |from: &str, kind, at| Edge { from: from.to_owned(), to: to.clone(), kind, at };
    let mut edges = Vec::new();
    edges.extend(place.pushed_at.map(|at| edge(digest, EdgeKind::Pushed, at)));
    for from in &place.replicated_from {
        let kind = EdgeKind::Replicated { lag_seconds: from.lag_seconds };
        edges.push(edge(&id(&from.registry), kind, from.at));
    }
    edges.extend(place.deleted.as_ref().map(|deleted| match &deleted.cause {
        Cause::Mirror { source, .. } => edge(&id(source), EdgeKind::Mirrored, deleted.at),
        cause => edge(digest, EdgeKind::Deleted { cause: cause.to_string() }, deleted.at),
    }));
    edges
}

impl Node {
    fn label(&self, line: &str) -> String {
        match &self.kind {
            NodeKind::Digest { image } => format!("{}{line}{}", image.repository, image.digest.short()),
            NodeKind::Registry { registry, status, tags, orphan } => {
                let status = status.map_or("not known there", PlacementStatus::words);
                let orphan = if *orphan { ", orphan" } else { "" };
                let mut label = format!("{}{line}{}{line}{status}{orphan}", registry.region(), registry.account());
                for tag in tags {
                    _ = write!(label, "{line}{tag}");
                }
                label
            }
        }
    }
}

impl Edge {
    fn label(&self, line: &str) -> String {
        let what = match &self.kind {
            EdgeKind::Pushed => "pushed".to_owned(),
            EdgeKind::Replicated { lag_seconds: Some(lag) } => format!("replicated after {lag} s"),
            EdgeKind::Replicated { lag_seconds: None } => "replicated".to_owned(),
            EdgeKind::Deleted { cause } => format!("deleted, {cause}"),
            EdgeKind::Mirrored => "followed".to_owned(),
        };
        format!("{what}{line}{}", time_text(self.at))
    }
}
