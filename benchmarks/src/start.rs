//! Size and cold start of a release's functions, compared with a Python handler that creates boto3 clients.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use tokio::process::Command;

use crate::{
    Error,
    function::{Function, STARTS, median},
    report::Report,
};

/// Lambda's limit for a zipped package that is uploaded directly, in MB.
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const PACKAGE: f64 = 50.0;

const FUNCTIONS: [&str; 6] = ["record", "watch", "mirror", "reconcile", "alert", "query"];

/// Measures the package of each function in a folder, and its cold start, in turns with the baseline.
#[expect(clippy::cast_precision_loss, reason = "some megabytes")]
pub(crate) async fn measure(artifacts: &Path, python: &Path, report: &mut Report) -> Result<(), Error> {
    let python = std::path::absolute(python)?;
    let policy = std::path::absolute("infra/policies/dev-follows-its-source.cedar")?;
    let policy = policy.display().to_string();
    let environment = [
        ("READ_ROLE", "reader"),
        ("DELETE_ROLE", "deleter"),
        ("POLICY_FILE", policy.as_str()),
        ("BUS_NAME", "alerts"),
        ("DEAD_LETTERS_URL", "http://127.0.0.1:1/111122223333/dead-letters"),
    ];
    let nowhere = "http://127.0.0.1:1";
    for name in FUNCTIONS {
        let package =
            artifacts.join(format!("{name}-{}.zip", if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }));
        let folder = tempfile::tempdir()?;
        let unpacked =
            Command::new(&python).args(["-m", "zipfile", "-e"]).args([&package, folder.path()]).status().await?;
        if !unpacked.success() {
            return Err(format!(
                "{} cannot be unpacked: make it with `just functions` or `just release`",
                package.display()
            )
            .into());
        }
        let function = folder.path().join("bootstrap");
        fs::set_permissions(&function, fs::Permissions::from_mode(0o755))?;
        let (mut ours, mut theirs, mut memory) = (Vec::new(), Vec::new(), 0.0);
        for _ in 0..STARTS {
            let (process, start) = Function::start(Command::new(&function), "none", nowhere, &environment).await?;
            ours.push(start);
            memory = process.peak_mebibytes()?;
            let mut baseline = Command::new(&python);
            baseline.current_dir("benchmarks/baseline").args(["-m", "awslambdaric", "handler.handler"]);
            theirs.push(Function::start(baseline, "none", nowhere, &environment).await?.1);
        }
        report.alone(format!("{name}: package"), "MB", fs::metadata(&package)?.len() as f64 / 1e6, Some(PACKAGE));
        report.beside(&format!("{name}: cold start"), "ms", median(ours), median(theirs), 15.0);
        report.alone(format!("{name}: memory when ready"), "MiB", memory, None);
    }
    Ok(())
}
