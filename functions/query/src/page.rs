//! The page: an HTML file, and the modules and style sheets of the folder `page`, all compiled into the program. They
//! fetch all data from the API.

use std::{collections::BTreeSet, fmt::Write as _};

use axum::{
    Extension, Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use sha2::{Digest, Sha256};

use crate::{api::CONTENT_SECURITY_POLICY, sign_in::SignIn};

/// The page's HTML. It names its files in the folder `page`, and has a place for the list of all modules.
const INDEX: &str = include_str!("../page/index.html");

/// Files of the folder `page` with their contents.
macro_rules! files {
    ($($name:literal)*) => { &[$(($name, include_str!(concat!("../page/", $name)))),*] };
}

/// The modules and style sheets, by their paths in the folder `page`.
const FILES: &[(&str, &str)] = files! {
    "style.css"
    "vendor/uplot.css"
    "app.js"
    "actor.js"
    "acts.js"
    "api.js"
    "bands.js"
    "breakers.js"
    "clock.js"
    "controls.js"
    "deletion.js"
    "format.js"
    "html.js"
    "lineage.js"
    "measure.js"
    "parts.js"
    "plot.js"
    "routes.js"
    "session.js"
    "signs.js"
    "store.js"
    "suggest.js"
    "vendor/hooks.js"
    "vendor/htm.js"
    "vendor/preact.js"
    "vendor/uplot.js"
    "views/activity.js"
    "views/alerts.js"
    "views/deletions.js"
    "views/drift.js"
    "views/image.js"
    "views/lag.js"
    "views/late.js"
    "views/overview.js"
    "views/registries.js"
    "views/repositories.js"
    "views/repository.js"
    "views/search.js"
    "views/tag.js"
};

/// A file that never changes at its address: the folder is named by the content of all files.
/// <https://developer.mozilla.org/en-US/docs/Web/HTTP/Reference/Headers/Cache-Control#immutable>
const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// The folder of the files. All of it is below `page/`, so that a route of API Gateway can name it.
fn folder() -> String {
    let all = FILES.iter().fold(Sha256::new(), |hash, (name, text)| hash.chain_update(name).chain_update(text));
    all.finalize().iter().take(6).fold("page/".to_owned(), |folder, byte| folder + &format!("{byte:02x}"))
}

fn is_module(name: &str) -> bool {
    name.ends_with(".js")
}

/// The text of a file of the folder `page`.
fn text_of(name: &str) -> Option<&'static str> {
    FILES.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}

/// The files that a module imports when it is loaded, and not only when a view is opened.
fn imports(name: &str) -> impl Iterator<Item = String> {
    let folder: Vec<&str> = name.split('/').rev().skip(1).collect();
    let text = text_of(name).unwrap_or_default();
    text.split(" from '").skip(1).filter_map(move |rest| {
        let path = rest.split('\'').next()?;
        let mut place: Vec<&str> = folder.iter().rev().copied().collect();
        for step in path.split('/') {
            match step {
                "." => {}
                ".." => _ = place.pop(),
                name => place.push(name),
            }
        }
        Some(place.join("/"))
    })
}

/// The modules of the first load: `app.js`, and what it imports. A view that it imports later is not one of them.
fn first_modules() -> BTreeSet<String> {
    let (mut first, mut next) = (BTreeSet::new(), vec!["app.js".to_owned()]);
    while let Some(name) = next.pop() {
        next.extend(imports(&name).filter(|name| !first.contains(name)));
        first.insert(name);
    }
    first
}

/// The HTML, with the name of the folder, and with the modules of the first load in its head: a browser requests them at
/// once, and not only when a module that imports them has arrived.
fn index(folder: &str) -> String {
    let links = first_modules().iter().fold(String::new(), |mut links, name| {
        _ = writeln!(links, r#"<link rel="modulepreload" href="page/{name}">"#);
        links
    });
    INDEX.replace("<!-- modules -->\n", &links).replace("\"page/", &format!("\"{folder}/"))
}

/// The paths of all files, the HTML first.
pub fn paths() -> Vec<String> {
    let folder = folder();
    let files = FILES.iter().map(|(name, _)| format!("/{folder}/{name}"));
    std::iter::once("/".to_owned()).chain(files).collect()
}

/// The paths of the files of the first load, the HTML first.
pub fn first_paths() -> Vec<String> {
    let (folder, first) = (folder(), first_modules());
    let files = FILES.iter().filter(|(name, _)| !is_module(name) || first.contains(*name));
    std::iter::once("/".to_owned()).chain(files.map(|(name, _)| format!("/{folder}/{name}"))).collect()
}

/// The routes of the page's files.
pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let folder = folder();
    let html = index(&folder);
    let index = async move |sign_in: Option<Extension<SignIn>>| first(html, sign_in.as_deref());
    FILES.iter().fold(Router::new().route("/", get(index)), |router, (name, text)| {
        let kind = if is_module(name) { "text/javascript; charset=utf-8" } else { "text/css; charset=utf-8" };
        let headers = [(header::CONTENT_TYPE, HeaderValue::from_static(kind)), (header::CACHE_CONTROL, FOREVER)];
        router.route(&format!("/{folder}/{name}"), get(async move || (headers, *text).into_response()))
    })
}

/// The first response. With a sign-in, it says where, and permits the page to connect there.
fn first(html: String, sign_in: Option<&SignIn>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let Some(sign_in) = sign_in else { return ([kind], html).into_response() };
    let to = sign_in.origins().fold("connect-src 'self'".to_owned(), |all, origin| all + " " + origin);
    let policy = HeaderValue::from_str(&CONTENT_SECURITY_POLICY.replace("connect-src 'self'", &to));
    let Ok(policy) = policy else { return ([kind], html).into_response() };
    let html = html.replace("<head>\n", &format!("<head>\n{}", sign_in.meta()));
    ([kind, (header::CONTENT_SECURITY_POLICY, policy)], html).into_response()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    fn below(folder: &Path, root: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, root, found);
            } else {
                found.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }

    #[test]
    fn the_html_and_the_policy_name_the_sign_in() {
        let response = first(index("v"), None);
        assert!(!response.headers().contains_key(header::CONTENT_SECURITY_POLICY), "the usual one");
        let stage = [
            ("SIGN_IN_ISSUER", "https://id.example.com"),
            ("SIGN_IN_ORIGIN", "https://token.example.com"),
            ("SIGN_IN_CLIENT_ID", "page"),
            ("SIGN_IN_SCOPES", "openid"),
            ("GROUPS_CLAIM", "groups"),
            ("READER_GROUP", "reader"),
            ("OPERATOR_GROUP", "operator"),
        ];
        let value = |name: &str| stage.iter().find(|(other, _)| *other == name).map(|(_, value)| (*value).to_owned());
        let sign_in = SignIn::read(value).unwrap().unwrap();
        let response = first(index("v"), Some(&sign_in));
        let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.contains("connect-src 'self' https://id.example.com https://token.example.com;"), "{policy}");
    }

    #[test]
    fn every_module_and_style_sheet_of_the_folder_is_served() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("page");
        let mut there = BTreeSet::new();
        below(&root, &root, &mut there);
        there.retain(|name| is_module(name) || name.ends_with(".css"));
        assert_eq!(FILES.iter().map(|(name, _)| (*name).to_owned()).collect::<BTreeSet<_>>(), there);
    }

    #[test]
    fn the_libraries_are_as_their_checksums_say() {
        let sums = include_str!("../page/vendor/SHA256SUMS");
        let vendored = FILES.iter().filter_map(|(name, text)| Some((name.strip_prefix("vendor/")?, text)));
        for (name, text) in vendored {
            let sum: String = Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(sums.contains(&format!("{sum}  {name}\n")), "{name} is {sum}: run `page/vendor/fetch`");
        }
    }

    #[test]
    fn the_html_names_the_files_of_the_first_load() {
        let html = index("v");
        let named: BTreeSet<_> = html.split('"').filter(|text| text.starts_with("v/")).collect();
        let first: Vec<_> = first_paths().into_iter().skip(1).collect();
        let first =
            first.iter().map(|path| format!("v/{}", path.rsplit_once(&folder()).unwrap().1.trim_start_matches('/')));
        assert_eq!(named.into_iter().map(str::to_owned).collect::<BTreeSet<_>>(), first.collect());
    }

    #[test]
    fn every_import_names_a_file_that_exists() {
        for (name, text) in FILES.iter().filter(|(name, _)| is_module(name)) {
            for import in imports(name) {
                assert!(text_of(&import).is_some(), "{name} imports {import}");
            }
            for later in text.split("import('").skip(1).filter_map(|rest| rest.split('\'').next()) {
                let path = later.trim_start_matches("./").trim_start_matches("../");
                assert!(text_of(path).is_some(), "{name} imports {later}");
            }
        }
        assert!(!first_modules().contains("vendor/uplot.js"));
    }
}
