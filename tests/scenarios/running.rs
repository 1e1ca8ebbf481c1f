//! ECS, Lambda and Inspector, as far as `mirror` asks them what runs. Their answers have few things on a page, and may
//! fail in every way that a caller can notice. `tests/conformance/test_usage.py` compares them with botocore's models.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use aws::{registry::Registries, usage::UsageReader};
use aws_smithy_runtime_api::{
    client::{
        http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector},
        orchestrator::{HttpRequest, HttpResponse},
        result::ConnectorError,
    },
    http::StatusCode,
};
use aws_smithy_types::body::SdkBody;
use domain::{
    image::{Digest, Tag},
    usage::UsageService,
};
use serde_json::{Value, json};

use crate::{
    events::{IRELAND, TOKYO, VIRGINIA},
    registries::APP,
};

/// What uses an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A running task, which reports the digest.
    Task,
    /// A service without tasks: its task definition has a tag.
    Service,
    /// A function.
    Function,
    /// A pod of EKS, which only Inspector knows.
    Pod,
}

/// Something that uses an image of the repository of the tests, in its own account and region.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) by: By,
    /// What it runs.
    pub(crate) digest: Digest,
    /// The tag by which it was configured.
    pub(crate) tag: Option<Tag>,
}

impl User {
    /// The digest that it runs; a service runs nothing.
    pub(crate) fn runs(&self) -> Option<&Digest> {
        (self.by != By::Service).then_some(&self.digest)
    }

    /// The tag that it pulls when it starts again.
    pub(crate) fn pulls(&self) -> Option<&Tag> {
        self.tag.as_ref().filter(|_| self.by != By::Pod)
    }
}

#[derive(Debug, Default)]
struct World {
    /// The users in each region, by name.
    users: BTreeMap<String, BTreeMap<String, User>>,
    started: usize,
    /// How many things a page has.
    page: usize,
    /// The state of a generator of faults; no faults without one.
    trouble: Option<u64>,
    /// The services that refuse, by the beginning of their names.
    denied: Vec<&'static str>,
    /// Whether descriptions of tasks leave one out.
    leaves_out: bool,
    calls: BTreeMap<String, usize>,
    /// The first request and answer of each operation, by its service.
    answers: BTreeMap<String, BTreeMap<String, Value>>,
}

/// The services of all accounts. No two accounts of the tests use one region.
#[derive(Debug, Clone)]
pub(crate) struct Running(Arc<Mutex<World>>);

impl Running {
    /// Nothing runs, and pages have this many things.
    pub(crate) fn new(page: usize) -> Self {
        Self(Arc::new(Mutex::new(World { page, ..World::default() })))
    }

    /// A reader of all three services.
    pub(crate) fn reader(&self, registries: Registries) -> UsageReader {
        self.reader_of(registries, 2)
    }

    /// The same with this number of revisions.
    pub(crate) fn reader_of(&self, registries: Registries, revisions: u32) -> UsageReader {
        let all = UsageService::ALL.into_iter().collect();
        UsageReader::new(registries, all, revisions).through(SharedHttpConnector::new(self.clone()))
    }

    /// Starts something. Returns its name.
    pub(crate) fn start(&self, registry: &str, user: User) -> String {
        let mut world = self.0.lock().unwrap();
        world.started += 1;
        let name = format!("user-{:04}", world.started);
        world.users.entry(region(registry)).or_default().insert(name.clone(), user);
        name
    }

    /// Stops everything in a registry's account and region.
    pub(crate) fn stop(&self, registry: &str) {
        self.0.lock().unwrap().users.remove(&region(registry));
    }

    pub(crate) fn users(&self, registry: &str) -> Vec<User> {
        let world = self.0.lock().unwrap();
        world.users.get(&region(registry)).map(|users| users.values().cloned().collect()).unwrap_or_default()
    }

    /// From now on, some calls fail, as this seed says.
    pub(crate) fn trouble(&self, seed: Option<u64>) {
        self.0.lock().unwrap().trouble = seed;
    }

    /// From now on, this service refuses.
    pub(crate) fn deny(&self, service: &'static str) {
        self.0.lock().unwrap().denied.push(service);
    }

    /// From now on, every description of tasks leaves one out.
    pub(crate) fn leave_out(&self) {
        self.0.lock().unwrap().leaves_out = true;
    }

    /// The first request and answer of each operation, by its service.
    pub(crate) fn answers(&self) -> Value {
        json!(self.0.lock().unwrap().answers)
    }

    /// The number of calls of each operation.
    pub(crate) fn calls(&self) -> BTreeMap<String, usize> {
        self.0.lock().unwrap().calls.clone()
    }
}

fn region(registry: &str) -> String {
    registry.split_once('/').unwrap().1.to_owned()
}

fn account(region: &str) -> &'static str {
    let all = [IRELAND, VIRGINIA, TOKYO].map(|registry| registry.split_once('/').unwrap());
    all.into_iter().find(|(_, of)| *of == region).unwrap().0
}

/// What can go wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Throttled,
    Denied,
    Broken,
    Unreachable,
    /// One thing that was asked for is not in the answer.
    Incomplete,
    /// A service reports a failure beside its answer.
    Refused,
}

impl World {
    fn fault(&mut self) -> Option<Fault> {
        let state = self.trouble.as_mut()?;
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        match (*state >> 33) % 100 {
            0..4 => Some(Fault::Throttled),
            4..6 => Some(Fault::Denied),
            6..8 => Some(Fault::Broken),
            8..10 => Some(Fault::Unreachable),
            10..13 => Some(Fault::Incomplete),
            13..15 => Some(Fault::Refused),
            _ => None,
        }
    }

    /// One page of a list, and the token of the next.
    fn page(&self, all: &[String], token: Option<&str>) -> (Vec<String>, Option<String>) {
        self.page_of(self.page, all, token)
    }

    fn page_of(&self, most: usize, all: &[String], token: Option<&str>) -> (Vec<String>, Option<String>) {
        let from: usize = token.map_or(0, |token| token.parse().unwrap());
        let to = (from + self.page.min(most)).min(all.len());
        (all[from..to].to_vec(), (to < all.len()).then(|| to.to_string()))
    }

    fn named(&self, region: &str, by: By) -> Vec<(&String, &User)> {
        let users = self.users.get(region).into_iter().flatten();
        users.filter(|(_, user)| user.by == by).collect()
    }

    fn answer(&mut self, operation: &str, region: &str, body: &Value) -> Value {
        let token = ["nextToken", "Marker"].iter().find_map(|name| body[name].as_str());
        let arn = |service: &str, rest: String| format!("arn:aws:{service}:{region}:{}:{rest}", account(region));
        let host = format!("{}.dkr.ecr.{region}.amazonaws.com/{APP}", account(region));
        let arns = |by: By, of: &dyn Fn(&str) -> String| -> Vec<String> {
            self.named(region, by).into_iter().map(|(name, _)| of(name)).collect()
        };
        let user = |arn: &str| -> Option<&User> {
            let name = arn.rsplit(['/', ':']).find(|part| part.starts_with("user-"))?;
            self.users.get(region)?.get(name)
        };
        let list = |key: &str, all: &[String], next: &str| {
            let (page, token) = self.page(all, token);
            let mut answer = json!({ key: page });
            if let Some(token) = token {
                answer[next] = json!(token);
            }
            answer
        };
        let task = |name: &str| arn("ecs", format!("task/second/{name}"));
        let service = |name: &str| arn("ecs", format!("service/second/{name}"));
        match operation {
            "ListClusters" => {
                let clusters = ["first", "second"].map(|name| arn("ecs", format!("cluster/{name}")));
                list("clusterArns", &clusters, "nextToken")
            }
            // The first cluster is empty.
            "ListTasks" | "ListServices" => {
                let empty = body["cluster"].as_str().unwrap().ends_with("first");
                let (key, all) = match operation {
                    "ListTasks" => ("taskArns", arns(By::Task, &task)),
                    _ => ("serviceArns", arns(By::Service, &service)),
                };
                list(key, if empty { &[] } else { &all }, "nextToken")
            }
            "DescribeTasks" => {
                let (mut tasks, mut failures) = (Vec::new(), Vec::new());
                for arn in body["tasks"].as_array().unwrap().iter().map(|arn| arn.as_str().unwrap()) {
                    let Some(user) = user(arn) else {
                        failures.push(json!({"arn": arn, "reason": "MISSING"}));
                        continue;
                    };
                    let image =
                        user.tag.as_ref().map_or(format!("{host}@{}", user.digest), |tag| format!("{host}:{tag}"));
                    let own =
                        json!({"name": "app", "image": image, "imageDigest": user.digest, "lastStatus": "RUNNING"});
                    let proxy =
                        json!({"name": "proxy", "image": "public.ecr.aws/envoy/envoy:v1", "lastStatus": "RUNNING"});
                    tasks.push(json!({"taskArn": arn, "lastStatus": "RUNNING", "containers": [proxy, own]}));
                }
                json!({"tasks": tasks, "failures": failures})
            }
            "DescribeServices" => {
                let services = body["services"].as_array().unwrap().iter().map(|service| {
                    let name = service.as_str().unwrap().rsplit('/').next().unwrap();
                    let definition = arn("ecs", format!("task-definition/{name}:7"));
                    let deployments = json!([{"taskDefinition": definition}]);
                    json!({"serviceArn": service, "taskDefinition": definition, "deployments": deployments})
                });
                json!({"services": services.collect::<Vec<_>>(), "failures": []})
            }
            "ListTaskDefinitions" => {
                let family = body["familyPrefix"].as_str().unwrap();
                let revisions = [7, 6].map(|number| arn("ecs", format!("task-definition/{family}:{number}")));
                json!({"taskDefinitionArns": revisions})
            }
            "DescribeTaskDefinition" => {
                let definition = body["taskDefinition"].as_str().unwrap();
                let tag = user(definition).and_then(|user| user.tag.clone());
                let image = tag.map_or("busybox".to_owned(), |tag| format!("{host}:{tag}"));
                let containers = json!([{"name": "app", "image": image}]);
                json!({"taskDefinition": {"taskDefinitionArn": definition, "containerDefinitions": containers}})
            }
            "ListFunctions" => {
                let names = arns(By::Function, &ToOwned::to_owned);
                // Lambda returns at most 50, whatever is asked for.
                let (page, next) = self.page_of(50, &names, token);
                let functions = page.iter().map(|name| {
                    let arn = arn("lambda", format!("function:{name}:$LATEST"));
                    json!({"FunctionName": name, "FunctionArn": arn, "Version": "$LATEST", "PackageType": "Image"})
                });
                let zip = json!({"FunctionName": "zip", "FunctionArn": arn("lambda", "function:zip:$LATEST".to_owned()),
                    "Version": "$LATEST", "PackageType": "Zip"});
                let mut answer = json!({"Functions": functions.chain([zip]).collect::<Vec<_>>()});
                if let Some(next) = next {
                    answer["NextMarker"] = json!(next);
                }
                answer
            }
            "GetFunction" => {
                let user = user(body["FunctionName"].as_str().unwrap()).unwrap();
                let resolved = format!("{host}@{}", user.digest);
                let image = user.tag.as_ref().map_or(resolved.clone(), |tag| format!("{host}:{tag}"));
                let code = json!({"RepositoryType": "ECR", "ImageUri": image, "ResolvedImageUri": resolved});
                json!({"Configuration": {}, "Code": code})
            }
            "BatchGetAccountStatus" => {
                let status = json!({"status": "ENABLED", "errorCode": "ALREADY_ENABLED", "errorMessage": ""});
                let state = json!({"ecr": status, "ec2": status});
                let account = json!({"accountId": account(region), "state": status, "resourceState": state});
                json!({"accounts": [account], "failedAccounts": []})
            }
            "ListCoverage" => {
                let of = |name: &str| name.to_owned();
                let (page, next) = self.page(&arns(By::Pod, &of), token);
                let resources = page.iter().map(|name| {
                    let id = arn("ecr", format!("repository/{APP}/{}", user(name).unwrap().digest));
                    let metadata = json!({"ecrImage": {"inUseCount": 2, "lastInUseAt": 1_793_500_000.5}});
                    let status = json!({"statusCode": "ACTIVE", "reason": "SUCCESSFUL"});
                    json!({"accountId": account(region), "resourceId": id, "resourceType": "AWS_ECR_CONTAINER_IMAGE",
                        "scanType": "PACKAGE", "scanStatus": status, "resourceMetadata": metadata})
                });
                let mut answer = json!({"coveredResources": resources.collect::<Vec<_>>()});
                if let Some(next) = next {
                    answer["nextToken"] = json!(next);
                }
                answer
            }
            other => panic!("{other} is not an operation of the stubs"),
        }
    }
}

/// The operation, its service, and what is asked: the body, or the path and the query.
fn asked(request: &HttpRequest) -> (String, &'static str, Value) {
    let body = || serde_json::from_slice(request.body().bytes().unwrap()).unwrap();
    if let Some(target) = request.headers().get("x-amz-target") {
        return (target.rsplit('.').next().unwrap().to_owned(), "ecs", body());
    }
    let (_, path) = request.uri().split_once("://").unwrap().1.split_once('/').unwrap();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let value = |name: &str| query.split('&').find_map(|part| part.strip_prefix(&format!("{name}=")));
    match path {
        "coverage/list" => ("ListCoverage".to_owned(), "inspector2", body()),
        "status/batch/get" => ("BatchGetAccountStatus".to_owned(), "inspector2", body()),
        "2015-03-31/functions" => {
            assert_eq!(value("FunctionVersion"), Some("ALL"));
            let mut asked = json!({"FunctionVersion": "ALL", "MaxItems": 50});
            if let Some(marker) = value("Marker") {
                asked["Marker"] = json!(marker);
            }
            ("ListFunctions".to_owned(), "lambda", asked)
        }
        path => {
            let name = path.strip_prefix("2015-03-31/functions/").unwrap();
            assert_eq!(value("Qualifier"), Some("%24LATEST"));
            ("GetFunction".to_owned(), "lambda", json!({"FunctionName": name, "Qualifier": "$LATEST"}))
        }
    }
}

impl HttpConnector for Running {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (operation, service, body) = asked(&request);
        // `Credential=KEY/DATE/REGION/SERVICE/aws4_request`
        let signed = request.headers().get("authorization").unwrap();
        let scope: Vec<_> = signed.split(['=', ',']).nth(1).unwrap().split('/').map(str::to_owned).collect();
        assert_eq!((scope[3].as_str(), scope[4].as_str()), (service, "aws4_request"));
        let mut world = self.0.lock().unwrap();
        *world.calls.entry(operation.clone()).or_default() += 1;
        let fault = match operation.as_str() {
            _ if world.denied.contains(&service) => Some(Fault::Denied),
            "DescribeTasks" if world.leaves_out => Some(Fault::Incomplete),
            _ => world.fault(),
        };
        let mut answer = match fault {
            Some(Fault::Unreachable) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::io("connection reset".into())));
            }
            Some(Fault::Throttled) => return refused(400, "ThrottlingException"),
            Some(Fault::Denied) => return refused(if service == "ecs" { 400 } else { 403 }, "AccessDeniedException"),
            _ => world.answer(&operation, &scope[2], &body),
        };
        let example = json!({"request": body, "answer": answer});
        world.answers.entry(service.to_owned()).or_default().entry(operation.clone()).or_insert(example);
        let fields = answer.as_object_mut().unwrap();
        let lists = fields.values_mut().filter_map(Value::as_array_mut);
        match fault {
            // A list that is left out, or one thing of those that were named in the request.
            Some(Fault::Incomplete) if operation.starts_with("Describe") && operation != "DescribeTaskDefinition" => {
                lists.for_each(|list| drop(list.pop()));
            }
            Some(Fault::Incomplete) => fields.clear(),
            Some(Fault::Refused) if fields.contains_key("failures") => {
                fields["failures"] = json!([{"arn": "arn:aws:ecs:::task/x", "reason": "INTERNAL"}]);
            }
            _ => {}
        }
        let mut text = answer.to_string();
        if fault == Some(Fault::Broken) {
            text.pop();
        }
        HttpConnectorFuture::ready(Ok(HttpResponse::new(StatusCode::try_from(200).unwrap(), SdkBody::from(text))))
    }
}

fn refused(status: u16, code: &str) -> HttpConnectorFuture {
    let body = json!({"__type": format!("com.amazonaws.service#{code}"), "message": "no"}).to_string();
    let answer = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::from(body));
    HttpConnectorFuture::ready(Ok(answer))
}
