//! Finds what can never match: a value that no request has, and an attribute that does not exist. Cedar's validator
//! knows types, not values: it accepts `context.cause == "lifecycles"`.

use cedar_policy::Schema;
use cedar_policy_core::{
    ast::{BinaryOp, Expr, ExprKind, Literal, Pattern, PatternElem},
    validator::types::Type,
};
use domain::{
    fact::Cause,
    image::{Digest, MalformedError, Registry, RepositoryName, Tag},
    policy::ManifestKind,
};

use crate::problem::PolicyProblem;

/// A value that a policy names. Facts follow from it that Cedar does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedValue {
    /// A tag.
    Tag(String),
    /// A pattern for a tag, and the pattern for the line of all tags that matches if the tag is among them.
    TagPattern {
        /// The pattern, as in a policy.
        pattern: String,
        /// The pattern for the line of all tags.
        in_line: String,
    },
    /// The name of a registry.
    Registry(String),
}

/// The tags and registries that a condition names.
pub(crate) fn named(condition: &Expr) -> Vec<NamedValue> {
    let mut all = Vec::new();
    for expression in condition.subexpressions() {
        match expression.expr_kind() {
            ExprKind::BinaryApp { arg1, arg2, .. } => {
                let tags = [(arg1, arg2), (arg2, arg1)]
                    .into_iter()
                    .filter(|(attribute, _)| attribute_of(attribute).is_some_and(|(_, value, _)| value == Value::Tag));
                all.extend(
                    tags.flat_map(|(_, literal)| texts(literal)).map(|(_, tag)| NamedValue::Tag(tag.to_owned())),
                );
            }
            ExprKind::Lit(Literal::EntityUID(entity)) if entity.entity_type().to_string() == "Registry" => {
                all.push(NamedValue::Registry(AsRef::<str>::as_ref(entity.eid()).to_owned()));
            }
            ExprKind::Like { expr, pattern } if path_of(expr).as_deref() == Some("context.tag") => {
                let pattern = pattern.to_string();
                all.push(NamedValue::TagPattern { in_line: in_tag_line(&pattern), pattern });
            }
            _ => {}
        }
    }
    all
}

/// What is found in a text.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// What can never match.
    pub(crate) errors: Vec<PolicyProblem>,
    /// What matches, but hardly what its author means.
    pub(crate) warnings: Vec<PolicyProblem>,
}

/// What a text in a request can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    Cause,
    Kind,
    Repository,
    Digest,
    Tag,
    TagLine,
    Account,
    Region,
}

/// The attributes of a request: the owner as in policies, the owner as in the schema, the name.
pub(crate) struct Attributes(Vec<(&'static str, String, String)>);

/// Where regions are, and the directions in their names: `partitions.json` of
/// [botocore](https://github.com/boto/botocore/blob/develop/botocore/data/partitions.json).
const AREAS: [&str; 12] = ["af", "ap", "ca", "cn", "eu", "eusc", "il", "me", "mx", "sa", "us", "ussc"];
const DIRECTIONS: [&str; 9] =
    ["central", "east", "north", "northeast", "northwest", "south", "southeast", "southwest", "west"];

/// Finds what can never match in a policy that starts at a byte offset of the text.
pub(crate) fn find(text: &str, start: usize, condition: &Expr, attributes: &Attributes, found: &mut Found) {
    let mut search = Search { text, start, attributes, found };
    condition.subexpressions().for_each(|expression| search.look_at(expression));
}

struct Search<'a> {
    text: &'a str,
    start: usize,
    attributes: &'a Attributes,
    found: &'a mut Found,
}

impl Search<'_> {
    fn look_at(&mut self, expression: &Expr) {
        match expression.expr_kind() {
            ExprKind::BinaryApp {
                op: BinaryOp::Eq | BinaryOp::Contains | BinaryOp::ContainsAll | BinaryOp::ContainsAny,
                arg1,
                arg2,
            } => {
                self.compare(arg1, arg2);
                self.compare(arg2, arg1);
            }
            ExprKind::Like { expr, pattern } => self.like(expression, expr, pattern),
            ExprKind::HasAttr { expr, attr } => self.has(expression, expr, attr),
            ExprKind::Lit(Literal::EntityUID(entity)) if entity.entity_type().to_string() == "Registry" => {
                let offset = entity.loc().or(expression.source_loc()).map_or(self.start, |loc| loc.span.offset());
                self.registry(offset, entity.eid().as_ref());
            }
            _ => {}
        }
    }

    fn offset(&self, expression: &Expr) -> usize {
        expression.source_loc().map_or(self.start, |loc| loc.span.offset())
    }

    fn error(&mut self, offset: usize, message: String, suggestion: String) {
        self.found.errors.push(PolicyProblem::at(self.text, offset, message).suggest(suggestion));
    }

    fn warn(&mut self, offset: usize, message: String, suggestion: String) {
        self.found.warnings.push(PolicyProblem::at(self.text, offset, message).suggest(suggestion));
    }

    /// An attribute is compared with literals: one, or those of a set.
    fn compare(&mut self, attribute: &Expr, literal: &Expr) {
        let Some((path, value, is_set)) = attribute_of(attribute) else { return };
        for (literal, word) in texts(literal) {
            let offset = self.offset(literal);
            let Err(rule) = value.can_be(word) else {
                if value == Value::Region {
                    self.region(offset, word);
                }
                continue;
            };
            let what = if is_set { "never contains" } else { "is never" };
            let suggestion = match (value, is_set) {
                (Value::Tag, true) if word.contains('*') => {
                    format!("only `like` has wildcards: write `{} like \"{}\"`", line_of(&path), in_tag_line(word))
                }
                (_, false) if word.contains('*') => {
                    format!("only `like` has wildcards: write `{path} like \"{word}\"`")
                }
                _ => rule,
            };
            self.error(offset, format!("`{path}` {what} \"{}\"", word.escape_debug()), suggestion);
        }
    }

    fn like(&mut self, expression: &Expr, attribute: &Expr, pattern: &Pattern) {
        let Some((path, value, false)) = attribute_of(attribute) else { return };
        let offset = self.offset(expression);
        if let Err(rule) = value.can_match(pattern) {
            self.error(offset, format!("`{path} like \"{pattern}\"` never matches"), rule);
        } else if pattern.iter().all(|element| *element != PatternElem::Wildcard) {
            let message = format!("`like \"{pattern}\"` has no `*`: it compares the whole text");
            self.warn(offset, message, format!("write `{path} == \"{pattern}\"`, or a pattern with `*`"));
        }
    }

    fn has(&mut self, expression: &Expr, owner: &Expr, attribute: &str) {
        let Some(owner) = path_of(owner) else { return };
        if self.attributes.lacks(&owner, attribute) {
            let suggestion = self.attributes.suggest(&owner, attribute);
            self.error(self.offset(expression), format!("`{owner}` has no attribute `{attribute}`"), suggestion);
        }
    }

    fn registry(&mut self, offset: usize, name: &str) {
        match name.parse::<Registry>() {
            Ok(registry) => self.region(offset, registry.region()),
            Err(error) => self.error(offset, format!("there is no registry \"{}\"", name.escape_debug()), rule(&error)),
        }
    }

    /// AWS may add areas and directions, so that an unknown one is no error.
    fn region(&mut self, offset: usize, region: &str) {
        let parts: Vec<_> = region.split('-').collect();
        let (Some(area), Some(direction)) = (parts.first(), parts.iter().rev().nth(1)) else { return };
        for (part, known) in [(area, &AREAS[..]), (direction, &DIRECTIONS[..])] {
            if !known.contains(part) {
                let nearest = nearest(part, known.iter().copied());
                let suggestion = nearest.map_or_else(
                    || "check its name".to_owned(),
                    |nearest| format!("did you mean `{}`?", region.replacen(part, nearest, 1)),
                );
                self.warn(offset, format!("no region is known whose name has `{part}`, as in `{region}`"), suggestion);
            }
        }
    }
}

impl Value {
    /// Whether a request can have this text; otherwise what the texts are like.
    fn can_be(self, text: &str) -> Result<(), String> {
        let follows = match self {
            Self::Cause => return one_of(text, &Cause::NAMES),
            Self::Kind => return one_of(text, &ManifestKind::ALL.map(ManifestKind::as_str)),
            Self::Repository => text.parse::<RepositoryName>().map(drop),
            Self::Digest => text.parse::<Digest>().map(drop),
            Self::Tag => text.parse::<Tag>().map(drop),
            Self::Account => Registry::new(text, "eu-west-1").map(drop),
            Self::Region => Registry::new("111122223333", text).map(drop),
            Self::TagLine => {
                let tags = text.strip_prefix(' ').and_then(|text| text.strip_suffix(' '));
                let is_line = tags.is_some_and(|tags| tags.split(' ').all(|tag| tag.parse::<Tag>().is_ok()));
                return if is_line || text.is_empty() { Ok(()) } else { Err(TAG_LINE.to_owned()) };
            }
        };
        follows.map_err(|error| match self {
            Self::Account => "an account has 12 digits".to_owned(),
            Self::Region => "a region is written like `eu-west-1`".to_owned(),
            _ => rule(&error),
        })
    }

    /// Whether a request can have a text that the pattern matches; otherwise what the texts are like.
    fn can_match(self, pattern: &Pattern) -> Result<(), String> {
        let names: &[&str] = match self {
            Self::Cause => &Cause::NAMES,
            Self::Kind => &ManifestKind::ALL.map(ManifestKind::as_str),
            _ => &[],
        };
        if !names.is_empty() {
            return if names.iter().any(|name| pattern.wildcard_match(name)) { Ok(()) } else { Err(list(names)) };
        }
        for element in pattern.iter() {
            if let PatternElem::Char(character) = element
                && !self.has(*character)
            {
                return Err(format!("the text has no `{}`", character.escape_debug()));
            }
        }
        let at_border = |element: Option<&PatternElem>| {
            element.is_none_or(|element| matches!(element, PatternElem::Wildcard | PatternElem::Char(' ')))
        };
        let elements = pattern.get_elems();
        if self == Self::TagLine && !(at_border(elements.first()) && at_border(elements.last())) {
            return Err(format!("{TAG_LINE}: write `\"{}\"`", in_tag_line(pattern.to_string().trim())));
        }
        Ok(())
    }

    /// Whether the texts may have this character: see the grammars in `domain::image`.
    fn has(self, character: char) -> bool {
        let lower = character.is_ascii_lowercase() || character.is_ascii_digit();
        let any = character.is_ascii_alphanumeric();
        match self {
            Self::Repository => lower || "._-/".contains(character),
            Self::Digest => any || "+._-:=".contains(character),
            Self::Tag => any || "._-".contains(character),
            Self::TagLine => any || "._- ".contains(character),
            Self::Account => character.is_ascii_digit(),
            Self::Cause | Self::Kind | Self::Region => lower || character == '-',
        }
    }
}

const TAG_LINE: &str = "it is every tag with a space before and after it";

/// `principal`, `resource.registry.account` and the like.
fn path_of(expression: &Expr) -> Option<String> {
    match expression.expr_kind() {
        ExprKind::Var(variable) => Some(variable.to_string()),
        ExprKind::GetAttr { expr, attr } => Some(format!("{}.{attr}", path_of(expr)?)),
        _ => None,
    }
}

/// The path of an attribute, what its texts can be, and whether it is a set of them.
fn attribute_of(expression: &Expr) -> Option<(String, Value, bool)> {
    let path = path_of(expression)?;
    let (value, is_set) = match path.as_str() {
        "context.cause" => (Value::Cause, false),
        "context.tag" => (Value::Tag, false),
        "resource.kind" => (Value::Kind, false),
        "resource.repository" => (Value::Repository, false),
        "resource.digest" => (Value::Digest, false),
        "resource.tagLine" => (Value::TagLine, false),
        "resource.tags" | "resource.replicaOnlyTags" => (Value::Tag, true),
        _ if path.ends_with(".account") => (Value::Account, false),
        _ if path.ends_with(".region") => (Value::Region, false),
        _ => return None,
    };
    Some((path, value, is_set))
}

/// The literal texts in an expression: itself, or those of a set.
fn texts(literal: &Expr) -> Vec<(&Expr, &str)> {
    let literals = match literal.expr_kind() {
        ExprKind::Set(literals) => literals.as_slice(),
        _ => std::slice::from_ref(literal),
    };
    let text = |literal| match Expr::expr_kind(literal) {
        ExprKind::Lit(Literal::String(word)) => Some((literal, word.as_str())),
        _ => None,
    };
    literals.iter().filter_map(text).collect()
}

/// The text that `like` can be used on instead of a set of tags.
fn line_of(set: &str) -> &str {
    if set == "resource.tags" { "resource.tagLine" } else { set }
}

/// The pattern for the line of all tags that matches a tag by this pattern: `v*` becomes `* v*`.
fn in_tag_line(pattern: &str) -> String {
    let before = if pattern.starts_with('*') { "" } else { "* " };
    let after = if pattern.ends_with('*') { "" } else { " *" };
    format!("{before}{pattern}{after}")
}

/// What follows the value in the message of a malformed one: the grammar.
fn rule(error: &MalformedError) -> String {
    error.rule().to_owned()
}

fn one_of(text: &str, names: &[&str]) -> Result<(), String> {
    if names.contains(&text) {
        return Ok(());
    }
    Err(nearest(text, names.iter().copied()).map_or_else(|| list(names), |name| format!("did you mean \"{name}\"?")))
}

fn list(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
    format!("it is one of {}", names.join(", "))
}

/// The nearest word, unless more than half of its letters differ.
pub(crate) fn nearest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distances = words.map(|known| (strsim::osa_distance(word, known), known));
    distances.min().filter(|(distance, known)| *distance <= known.len() / 2).map(|(_, known)| known)
}

impl Attributes {
    /// The attributes in the schema.
    pub(crate) fn of(schema: &Schema) -> Self {
        let schema = schema.as_ref();
        let mut all = Vec::new();
        for (owner, kind) in [("principal", "Registry"), ("resource", "Replica")] {
            let entity = schema.entity_types().find(|entity| entity.name().to_string() == kind);
            let names = entity.into_iter().flat_map(|entity| entity.attributes().keys());
            all.extend(names.map(|name| (owner, kind.to_owned(), name.to_string())));
        }
        // All actions have the same context.
        if let Some(Type::Record { attrs, .. }) = schema.action_ids().next().and_then(|action| action.context_type()) {
            all.extend(attrs.keys().map(|name| ("context", "context".to_owned(), name.to_string())));
        }
        Self(all)
    }

    /// The names of the attributes of an owner: `principal`, `resource`, `context`, the registry in `resource.source`,
    /// or the name of its type.
    fn of_owner<'a>(&'a self, owner: &'a str) -> impl Iterator<Item = &'a str> {
        let owner = if owner.starts_with("resource.") { "principal" } else { owner };
        self.0.iter().filter(move |(of, kind, _)| *of == owner || kind == owner).map(|(_, _, name)| name.as_str())
    }

    fn lacks(&self, owner: &str, name: &str) -> bool {
        self.of_owner(owner).all(|known| known != name)
    }

    /// The attribute that is meant by a name that the owner does not have. Cedar suggests one by its letters alone:
    /// `kind` for `repo`.
    pub(crate) fn suggest(&self, owner: &str, name: &str) -> String {
        let lower = name.to_lowercase();
        let contains = |known: &&str| {
            let known = known.to_lowercase();
            lower.len() > 2 && (known.contains(&lower) || lower.contains(&known))
        };
        let near = |known: &&str| (strsim::osa_distance(&lower, &known.to_lowercase()), known.len());
        let close = self.of_owner(owner).filter(|known| near(known).0 <= 1).min_by_key(near);
        let elsewhere = self.0.iter().find(|(_, _, known)| known.to_lowercase() == lower);
        if let (None, Some((of, _, known))) = (close, elsewhere) {
            return format!("did you mean `{of}.{known}`?");
        }
        let similar = || self.of_owner(owner).filter(contains).min_by_key(near);
        match close.or_else(similar).or_else(|| nearest(name, self.of_owner(owner))) {
            Some(known) => format!("did you mean `{known}`?"),
            None => {
                let all: Vec<_> = self.of_owner(owner).map(|known| format!("`{known}`")).collect();
                if all.is_empty() { "it has none".to_owned() } else { format!("it has {}", all.join(", ")) }
            }
        }
    }
}
