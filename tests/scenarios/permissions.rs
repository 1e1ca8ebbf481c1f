//! The templates grant each function exactly the permissions that its code needs: none is missing, and none is unused.
//!
//! The needed permissions are derived from the sources: the functions that `main` reaches, and the AWS operations that
//! they call. The type of a receiver is derived from its name, which is the same everywhere: `table`, `registries`,
//! `bus`, `dead_letters`.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use syn::{
    Attribute, Expr, ExprCall, ExprMethodCall, ExprPath, ImplItemFn, ItemFn, ItemImpl, ItemMod, Macro, Type,
    parse::Parser,
    punctuated::Punctuated,
    visit::{self, Visit},
};

use crate::templates::{resources, source, template};

/// The SDK's method for an operation, and IAM's name of the action.
const OPERATIONS: [(&str, &str); 21] = [
    ("get_item", "dynamodb:GetItem"),
    ("batch_get_item", "dynamodb:BatchGetItem"),
    ("put_item", "dynamodb:PutItem"),
    ("batch_write_item", "dynamodb:BatchWriteItem"),
    // All PartiQL statements in the code are inserts.
    ("batch_execute_statement", "dynamodb:PartiQLInsert"),
    ("update_item", "dynamodb:UpdateItem"),
    ("delete_item", "dynamodb:DeleteItem"),
    ("query", "dynamodb:Query"),
    ("batch_get_image", "ecr:BatchGetImage"),
    ("describe_registry", "ecr:DescribeRegistry"),
    ("describe_images", "ecr:DescribeImages"),
    ("describe_image_replication_status", "ecr:DescribeImageReplicationStatus"),
    ("describe_repositories", "ecr:DescribeRepositories"),
    ("get_repository_policy", "ecr:GetRepositoryPolicy"),
    ("get_lifecycle_policy", "ecr:GetLifecyclePolicy"),
    ("batch_delete_image", "ecr:BatchDeleteImage"),
    ("update_image_storage_class", "ecr:UpdateImageStorageClass"),
    ("put_events", "events:PutEvents"),
    ("get_queue_attributes", "sqs:GetQueueAttributes"),
    ("get_topic_attributes", "sns:GetTopicAttributes"),
    ("confirm_subscription", "sns:ConfirmSubscription"),
];

/// The functions that sign a call themselves, by their type, and IAM's name of the action.
const SIGNED: [(&str, &str, &str); 11] = [
    ("Ecs", "list_clusters", "ecs:ListClusters"),
    ("Ecs", "list_tasks", "ecs:ListTasks"),
    ("Ecs", "describe_tasks", "ecs:DescribeTasks"),
    ("Ecs", "list_services", "ecs:ListServices"),
    ("Ecs", "describe_services", "ecs:DescribeServices"),
    ("Ecs", "list_task_definitions", "ecs:ListTaskDefinitions"),
    ("Ecs", "describe_task_definition", "ecs:DescribeTaskDefinition"),
    ("Lambda", "list_functions", "lambda:ListFunctions"),
    ("Lambda", "get_function", "lambda:GetFunction"),
    ("Inspector", "batch_get_account_status", "inspector2:BatchGetAccountStatus"),
    ("Inspector", "list_coverage", "inspector2:ListCoverage"),
];

/// A part of a transaction needs the permission of the single call that does the same.
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis-iam.html>
const PARTS: [(&str, &str); 4] = [
    ("Put", "dynamodb:PutItem"),
    ("Update", "dynamodb:UpdateItem"),
    ("Delete", "dynamodb:DeleteItem"),
    ("ConditionCheck", "dynamodb:ConditionCheckItem"),
];

/// The type of a value, by its name.
const RECEIVERS: [(&str, &str); 18] = [
    ("table", "Table"),
    ("registries", "Registries"),
    ("bus", "Bus"),
    ("dead_letters", "DeadLetters"),
    ("planner", "Planner"),
    ("mirror", "Mirror"),
    ("watch", "Watch"),
    ("reconcile", "Reconcile"),
    ("listing", "Listing"),
    ("record", "Record"),
    ("topics", "Topics"),
    ("proofs", "Proofs"),
    ("members", "Members"),
    ("usage_reads", "UsageReads"),
    ("reader", "UsageReader"),
    ("ecs", "Ecs"),
    ("lambda", "Lambda"),
    ("inspector", "Inspector"),
];

/// Methods of collections, whose variables may have the same names as receivers.
const OF_COLLECTIONS: [&str; 25] = [
    "as_ref",
    "clone",
    "cloned",
    "collect",
    "contains",
    "contains_key",
    "extend",
    "filter",
    "find",
    "first",
    "get",
    "insert",
    "into_iter",
    "is_empty",
    "is_some",
    "is_some_and",
    "iter",
    "keys",
    "len",
    "map",
    "next",
    "retain",
    "then",
    "unwrap_or_default",
    "values",
];

/// The actions that Lambda calls with a function's role to fetch its events, by the queue or the table that has them.
/// <https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html>,
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-ddb.html>
const BROUGHT: [(&str, &[&str]); 2] = [
    ("Events", &["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"]),
    ("Table", &["dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"]),
];

/// The identity of a function in the code.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    /// The folder of its crate.
    folder: String,
    /// The name of its file: the crate's own name, `main`, or the module's name.
    module: String,
    /// The type of which it is a method.
    of: Option<String>,
    function: String,
}

/// The calls in a function's body.
#[derive(Debug, Default, Clone)]
struct Body {
    /// IAM actions of AWS operations.
    actions: BTreeSet<&'static str>,
    /// Methods, with the type that the receiver's name implies.
    methods: BTreeSet<(String, String)>,
    /// Functions, by the last two segments of their path, and whether they are called or only named.
    functions: BTreeSet<(Option<String>, String, bool)>,
    /// The HTTP method of the route that it handles.
    verb: Option<String>,
}

/// All functions of some crates.
#[derive(Debug, Default)]
struct Code {
    bodies: BTreeMap<Name, Body>,
    folder: String,
    module: String,
    inside: Option<String>,
    at: Option<Name>,
}

impl Code {
    /// Reads the sources of a crate, without its tests.
    fn read(&mut self, folder: &str) {
        folder.clone_into(&mut self.folder);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder).join("src");
        let mut files = Vec::new();
        list(&root, &mut files);
        assert!(!files.is_empty(), "{folder}");
        for file in files {
            self.module = match file.file_stem().unwrap().to_str().unwrap() {
                "lib" => folder.split('/').next_back().unwrap().to_owned(),
                name => name.to_owned(),
            };
            let text = std::fs::read_to_string(&file).unwrap();
            let file = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
            self.visit_file(&file);
        }
    }

    /// Records that a function is called, or passed as a value.
    fn names(&mut self, path: &ExprPath, is_called: bool) {
        let parts: Vec<_> = path.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        let (inside, of) = (self.inside.clone(), parts.len().checked_sub(2).map(|at| parts[at].clone()));
        let (Some(body), Some(last)) = (self.body(), parts.last()) else { return };
        if last == "builder" {
            let part = PARTS.iter().find(|(part, _)| of.as_deref() == Some(*part));
            body.actions.extend(part.map(|(_, action)| *action));
        }
        let of = if of.as_deref() == Some("Self") { inside } else { of };
        body.functions.insert((of, last.clone(), is_called));
    }

    fn body(&mut self) -> Option<&mut Body> {
        let at = self.at.clone()?;
        Some(self.bodies.entry(at).or_default())
    }

    fn function(&mut self, name: String, attributes: &[Attribute], walk: impl FnOnce(&mut Self)) {
        if is_test(attributes) {
            return;
        }
        let (folder, module, of) = (self.folder.clone(), self.module.clone(), self.inside.clone());
        let outer = self.at.replace(Name { folder, module, of, function: name });
        let route = attributes.iter().find(|attribute| attribute.path().segments.last().unwrap().ident == "path");
        let verb = route.map(|route| first_word(&quoted(route)));
        self.body().unwrap().verb = verb;
        walk(self);
        self.at = outer;
    }

    /// All functions that are reachable from some functions, each with its caller.
    fn reached(&self, from: Vec<Name>) -> BTreeMap<&Name, Option<Name>> {
        let mut reached = BTreeMap::new();
        let mut open: Vec<(Name, Option<Name>)> = from.into_iter().map(|name| (name, None)).collect();
        while let Some((name, by)) = open.pop() {
            let Some((name, body)) = self.bodies.get_key_value(&name) else { continue };
            if reached.contains_key(name) {
                continue;
            }
            reached.insert(name, by);
            let mut called = Vec::new();
            for (of, method) in &body.methods {
                let found = self.found(|known| known.of.as_ref() == Some(of) && known.function == *method);
                // Methods that collections have, too, are not treated as calls of our code.
                let ours = RECEIVERS.iter().any(|(_, ours)| ours == of) && !OF_COLLECTIONS.contains(&method.as_str());
                assert!(!found.is_empty() || !ours, "`{of}::{method}` is not found: called in {name:?}");
                called.extend(found);
            }
            for (of, function, is_called) in &body.functions {
                called.extend(self.called(name, of.as_deref(), function, *is_called));
            }
            open.extend(called.into_iter().map(|called| (called, Some(name.clone()))));
        }
        reached
    }

    /// The actions that are reachable, each with a call path as an explanation for failures.
    fn actions(&self, from: Vec<Name>) -> BTreeMap<&'static str, String> {
        let reached = self.reached(from);
        let mut actions = BTreeMap::new();
        for name in reached.keys() {
            for action in &self.bodies[*name].actions {
                let way = std::iter::successors(Some(*name), |name| reached.get(*name)?.as_ref());
                let way: Vec<_> = way.map(|name| format!("{}::{}", name.module, name.function)).collect();
                actions.entry(*action).or_insert_with(|| way.join(" < "));
            }
        }
        // Querying an index needs its own permission.
        if !actions.contains_key("dynamodb:Query") {
            actions.remove("index");
        }
        actions
    }

    fn found(&self, is: impl Fn(&Name) -> bool) -> Vec<Name> {
        self.bodies.keys().filter(|known| is(known)).cloned().collect()
    }

    /// The functions that a path may refer to: of a type; of a module or what it re-exports; or of this module and its
    /// imports.
    fn called(&self, from: &Name, of: Option<&str>, function: &str, is_called: bool) -> Vec<Name> {
        let free = |known: &Name| known.of.is_none() && known.function == function;
        let here = match of {
            Some(of) if of.starts_with(char::is_uppercase) => {
                return self.found(|known| known.of.as_deref() == Some(of) && known.function == function);
            }
            Some(of) => self.found(|known| free(known) && known.module == of),
            None => self.found(|known| free(known) && known.folder == from.folder && known.module == from.module),
        };
        // A name that is not called is usually a variable.
        if !here.is_empty() || (of.is_none() && !is_called) {
            return here;
        }
        let module = |known: &Name| of.is_none_or(|of| known.module == of);
        let folders: BTreeSet<_> = match of {
            Some(_) => self.bodies.keys().filter(|known| module(known)).map(|known| known.folder.clone()).collect(),
            None => [from.folder.clone()].into(),
        };
        self.found(|known| free(known) && folders.contains(&known.folder))
    }
}

fn list(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Tests in separate files.
        if path.is_dir() {
            list(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("tests.rs") {
            files.push(path);
        }
    }
}

fn quoted(attribute: &Attribute) -> String {
    attribute.meta.require_list().map(|list| list.tokens.to_string()).unwrap_or_default()
}

fn first_word(text: &str) -> String {
    text.chars().take_while(char::is_ascii_alphabetic).collect()
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let last = attribute.path().segments.last().unwrap().ident.to_string();
        last == "test" || (last == "cfg" && quoted(attribute).contains("test"))
    })
}

/// The last name in an expression such as `self.table`, `&query.table` or `client`.
fn last_name(expr: &Expr) -> Option<String> {
    match expr {
        Expr::Path(path) => path.path.segments.last().map(|segment| segment.ident.to_string()),
        Expr::Field(field) => match &field.member {
            syn::Member::Named(name) => Some(name.to_string()),
            syn::Member::Unnamed(_) => None,
        },
        Expr::Reference(reference) => last_name(&reference.expr),
        Expr::Paren(paren) => last_name(&paren.expr),
        _ => None,
    }
}

impl<'ast> Visit<'ast> for Code {
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_test(&item.attrs) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        let Type::Path(of) = &*item.self_ty else { return };
        let outer = self.inside.replace(of.path.segments.last().unwrap().ident.to_string());
        visit::visit_item_impl(self, item);
        self.inside = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        let inside = self.inside.take();
        self.function(item.sig.ident.to_string(), &item.attrs, |code| visit::visit_item_fn(code, item));
        self.inside = inside;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        let function = item.sig.ident.to_string();
        let signed = SIGNED
            .iter()
            .find(|(of, signed, _)| self.inside.as_deref() == Some(*of) && function == *signed)
            .map(|(_, _, action)| *action);
        self.function(function, &item.attrs, |code| {
            code.body().unwrap().actions.extend(signed);
            visit::visit_impl_item_fn(code, item);
        });
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        let method = call.method.to_string();
        let receiver = last_name(&call.receiver);
        let of = match receiver.as_deref() {
            Some("self") => self.inside.clone(),
            Some(name) => RECEIVERS.iter().find(|(known, _)| *known == name).map(|(_, of)| (*of).to_owned()),
            None => None,
        };
        let operation = OPERATIONS.iter().find(|(name, _)| *name == method);
        if let Some(body) = self.body() {
            if method == "index_name" {
                body.actions.insert("index");
            }
            match (of, operation) {
                // An SDK call has no arguments: its builder sets all of them.
                (None, Some((_, action))) if call.args.is_empty() => _ = body.actions.insert(action),
                (Some(of), _) => {
                    body.methods.insert((of, method));
                }
                (None, _) => {}
            }
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        let Expr::Path(path) = &*call.func else { return visit::visit_expr_call(self, call) };
        self.names(path, true);
        call.args.iter().for_each(|argument| self.visit_expr(argument));
    }

    fn visit_expr_path(&mut self, path: &'ast ExprPath) {
        self.names(path, false);
    }

    /// Parses the arguments of macros as expressions, which most of them are.
    fn visit_macro(&mut self, item: &'ast Macro) {
        let parser = Punctuated::<Expr, syn::Token![,]>::parse_terminated;
        if let Ok(exprs) = parser.parse2(item.tokens.clone()) {
            // These expressions live only as long as this call.
            let mut inner = Code { inside: self.inside.clone(), at: self.at.clone(), ..Code::default() };
            exprs.iter().for_each(|expr| inner.visit_expr(expr));
            for (name, found) in inner.bodies {
                let body = self.bodies.entry(name).or_default();
                body.actions.extend(found.actions);
                body.methods.extend(found.methods);
                body.functions.extend(found.functions);
            }
        }
    }
}

/// IAM actions, each with a call path on which it is reached.
type Done = BTreeMap<&'static str, String>;

/// The actions of each function of the hub, by its name in the template.
fn done() -> BTreeMap<&'static str, Done> {
    let crates = [
        ("Record", "functions/record"),
        ("Watch", "functions/watch"),
        ("Mirror", "functions/mirror"),
        ("Reconcile", "functions/reconcile"),
        ("Alert", "functions/alert"),
    ];
    let mut done = BTreeMap::new();
    for (function, folder) in crates {
        let mut code = Code::default();
        for folder in ["shared/aws", "shared/store", "shared/decide", folder] {
            code.read(folder);
        }
        done.insert(function, code.actions(code.found(|name| name.folder == folder && name.function == "main")));
    }
    let mut code = Code::default();
    for folder in ["shared/aws", "shared/store", "shared/decide", "shared/answers", "functions/query"] {
        code.read(folder);
    }
    // Callers without the permission to change anything are refused before a changing route runs. Only those routes are
    // POST requests, and the policy preview.
    let routes = |wanted: &dyn Fn(&str, &str) -> bool| -> Vec<Name> {
        code.found(|name| {
            let verb = code.bodies[name].verb.as_deref();
            name.folder == "functions/query" && verb.is_some_and(|verb| wanted(&name.function, verb))
        })
    };
    let asks = |name: &str, verb: &str| verb == "get" || name == "policy_preview";
    let (questions, all) = (routes(&asks), routes(&|_, _| true));
    assert_eq!((questions.len(), all.len() - questions.len()), (22, 12), "{all:?}");
    done.insert("Query", code.actions(questions));
    done.insert("Operate", code.actions(all));
    done
}

fn each(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_else(|| vec![value.clone()])
}

/// The statements of a role, by their Sid.
fn statements(template: &Value, role: &str) -> BTreeMap<String, Value> {
    let policies = template["Resources"][role]["Properties"]["Policies"].as_array().unwrap();
    assert_eq!(policies.len(), 1, "{role}");
    let statements = each(&policies[0]["PolicyDocument"]["Statement"]).into_iter();
    // A statement may depend on a condition.
    let statements = statements.map(|one| if one["Fn::If"].is_array() { one["Fn::If"][1].clone() } else { one });
    statements.map(|statement| (statement["Sid"].as_str().unwrap_or_default().to_owned(), statement)).collect()
}

fn actions(statement: &Value) -> BTreeSet<String> {
    each(&statement["Action"]).iter().map(|action| action.as_str().unwrap().to_owned()).collect()
}

fn of_service(actions: &Done, service: &str) -> BTreeSet<String> {
    actions.keys().filter(|action| action.starts_with(service)).map(|action| (*action).to_owned()).collect()
}

#[test]
fn each_function_has_exactly_the_permissions_it_needs() {
    let hub = template("hub.yaml");
    for (function, done) in done() {
        let mut left = statements(&hub, &format!("{function}Role"));
        let mut granted = |sid: &str| left.remove(sid);

        // This test does not read managed policies: X-Ray's, attached only if tracing is enabled, and the one with which
        // Lambda connects functions to a VPC.
        let managed = &hub["Resources"][format!("{function}Role")]["Properties"]["ManagedPolicyArns"];
        let xray = "arn:${AWS::Partition}:iam::aws:policy/AWSXRayDaemonWriteAccess";
        let only_if = |condition: &str, policy: Value| json!({"Fn::If": [condition, policy, {"Ref": "AWS::NoValue"}]});
        let expected =
            json!([only_if("Traces", json!({"Fn::Sub": xray})), only_if("HasVpc", json!({"Ref": "Network"})),]);
        assert_eq!(*managed, expected, "{function}");

        // The function's log.
        let log = granted("logs").unwrap();
        assert_eq!(actions(&log), ["logs:CreateLogStream", "logs:PutLogEvents"].map(str::to_owned).into());
        assert_eq!(log["Resource"]["Fn::GetAtt"][0], format!("{function}Log"));

        // The table, and its indexes if they are queried.
        let table = granted("table");
        let allowed = table.as_ref().map(actions).unwrap_or_default();
        assert_eq!(allowed, of_service(&done, "dynamodb:"), "{function}: {done:#?}");
        let readable = table.map(|table| each(&table["Resource"]).len()).unwrap_or_default();
        assert_eq!(readable, usize::from(!allowed.is_empty()) + usize::from(done.contains_key("index")), "{function}");

        // Registries: the read role, and the delete role only if the function calls any of its actions.
        let (reads, changes) = of_registries(&done);
        let registries = granted("registries");
        let roles = registries.iter().flat_map(|registries| each(&registries["Resource"]));
        let roles: BTreeSet<_> = roles.map(|role| role["Fn::Sub"].as_str().unwrap().to_owned()).collect();
        let role = |name: &str| format!("arn:${{AWS::Partition}}:iam::*:role/${{RolePath}}${{{name}}}");
        let needed = [(reads, "ReadRoleName"), (changes, "DeleteRoleName")];
        let needed = needed.iter().filter(|(calls, _)| !calls.is_empty()).map(|(_, name)| role(name)).collect();
        assert_eq!(roles, needed, "{function}");

        // The events that it publishes, and the queue whose length it reads.
        for (sids, service) in [
            (&["publish"][..], "events:"),
            (&["deadLetters"], "sqs:"),
            // The subscriptions that it confirms, and the proof that a topic is in the organization.
            (&["subscriptions", "membership"], "sns:"),
        ] {
            let allowed: BTreeSet<_> =
                sids.iter().filter_map(|sid| granted(sid)).flat_map(|one| actions(&one)).collect();
            assert_eq!(allowed, of_service(&done, service), "{function}");
        }

        // The actions that Lambda performs with its role, to fetch its events and to store failed ones.
        let mappings = resources(&hub, "AWS::Lambda::EventSourceMapping");
        for (_, mapping) in mappings.iter().filter(|(_, one)| one["Properties"]["FunctionName"]["Ref"] == *function) {
            // The table's stream may be that of an existing table.
            let source = &mapping["Properties"]["EventSourceArn"];
            let source = source.pointer("/Fn::If/1").unwrap_or(source)["Fn::GetAtt"][0].as_str().unwrap();
            let (_, brought) = BROUGHT.iter().find(|(resource, _)| *resource == source).unwrap();
            let sids = ["queue", "stream", "streams"];
            let allowed: BTreeSet<_> =
                sids.iter().filter_map(|sid| left.remove(*sid)).flat_map(|one| actions(&one)).collect();
            assert_eq!(allowed, brought.iter().map(|action| (*action).to_owned()).collect(), "{function}");
            let failed = mapping["Properties"]["DestinationConfig"]["OnFailure"]["Destination"].clone();
            if !failed.is_null() {
                let kept = left.remove("failed").unwrap();
                assert_eq!((&kept["Resource"], &kept["Action"]), (&failed, &Value::from("sqs:SendMessage")));
            }
        }
        assert!(left.is_empty(), "{function} may more: {left:?}");
    }
}

/// Selects one of the two sets below.
type Part = fn(&(BTreeSet<String>, BTreeSet<String>)) -> &BTreeSet<String>;

/// The ECR actions that the read role and the delete role need.
fn of_registries(done: &Done) -> (BTreeSet<String>, BTreeSet<String>) {
    let changing = ["ecr:BatchDeleteImage", "ecr:UpdateImageStorageClass"];
    let services = ["ecr:", "ecs:", "lambda:", "inspector2:"];
    let all = services.into_iter().flat_map(|service| of_service(done, service));
    all.partition(|action| !changing.contains(&action.as_str()))
}

#[test]
fn the_roles_of_a_registry_have_exactly_the_permissions_the_functions_need() {
    let registry = template("registry.yaml");
    let done: Vec<_> = done().into_iter().map(|(function, done)| (function, of_registries(&done))).collect();
    let all = |part: Part| -> BTreeSet<String> { done.iter().flat_map(|(_, calls)| part(calls).clone()).collect() };
    for (role, needed) in [("ReadRole", all(|calls| &calls.0)), ("DeleteRole", all(|calls| &calls.1))] {
        let allowed: BTreeSet<_> = statements(&registry, role).values().flat_map(actions).collect();
        assert_eq!(allowed, needed, "{role}");
    }
    // The roles' trust policies name exactly the functions that call any of their actions.
    let who = |part: Part| -> BTreeSet<String> {
        done.iter()
            .filter(|(_, calls)| !part(calls).is_empty())
            .map(|(function, _)| format!("{function}Role"))
            .collect()
    };
    for (role, needed) in [("ReadRole", who(|calls| &calls.0)), ("DeleteRole", who(|calls| &calls.1))] {
        let trust = &registry["Resources"][role]["Properties"]["AssumeRolePolicyDocument"]["Statement"];
        let [trust] = trust.as_array().unwrap().as_slice() else { panic!("{role}") };
        assert_eq!(trust["Condition"]["StringEquals"]["sts:ExternalId"]["Ref"], "ExternalId", "{role}");
        let trusted = each(&trust["Condition"]["ArnLike"]["aws:PrincipalArn"]);
        let names = trusted.iter().map(|arn| {
            let arn = arn["Fn::Sub"][0].as_str().unwrap();
            arn.split("role/${RolePath}${HubStackName}-").nth(1).unwrap().trim_end_matches("-*").to_owned()
        });
        assert_eq!(names.collect::<BTreeSet<_>>(), needed, "{role}");
    }
}

#[test]
fn people_have_the_same_permissions_on_the_command_line_and_the_page() {
    let (hub, done) = (template("hub.yaml"), done());
    for (policy, function) in [("Readers", "Query"), ("Operators", "Operate")] {
        let document = &hub["Resources"][policy]["Properties"]["PolicyDocument"];
        let table = each(&document["Statement"]).into_iter().find(|statement| statement["Sid"] == "table").unwrap();
        assert_eq!(actions(&table), of_service(&done[function], "dynamodb:"), "{policy}");
    }
}

#[test]
fn permissions_name_their_resources_where_the_action_supports_it() {
    for file in ["hub.yaml", "monitoring.yaml", "registry.yaml", "channels.yaml", "page.yaml"] {
        let text = source(file);
        // Only descriptions and patterns of parameters may name a partition; deployed resources must not.
        let resources = text.split("\nResources:").nth(1).unwrap();
        assert!(!resources.contains("arn:aws:"), "{file}: an ARN of one partition");
        let template = template(file);
        for (name, resource) in template["Resources"].as_object().unwrap() {
            let properties = &resource["Properties"];
            let documents = each(&properties["Policies"]).into_iter().map(|policy| policy["PolicyDocument"].clone());
            let documents = documents.chain([properties["PolicyDocument"].clone()]);
            let statements =
                documents.flat_map(|document| each(&document["Statement"])).filter(|one| one["Effect"] == "Allow");
            for statement in statements.filter(|statement| statement["Resource"] == "*") {
                // These actions do not support resources.
                let alone = [
                    "ecr:DescribeRegistry",
                    "cloudwatch:GetMetricData",
                    "lambda:ListEventSourceMappings",
                    "events:ListRuleNamesByTarget",
                    "ec2:DescribeNetworkInterfaces",
                    "ec2:DescribeSubnets",
                    "ecs:ListClusters",
                    "ecs:ListTasks",
                    "ecs:ListServices",
                    "ecs:ListTaskDefinitions",
                    "ecs:DescribeTaskDefinition",
                    "lambda:ListFunctions",
                    "inspector2:BatchGetAccountStatus",
                    "inspector2:ListCoverage",
                ];
                let named = actions(&statement).iter().all(|action| alone.contains(&action.as_str()));
                assert!(named, "{file}: {name} may do {} to everything", statement["Action"]);
            }
        }
    }
}
