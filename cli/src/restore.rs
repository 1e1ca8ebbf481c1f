//! `restore --copy`: asks, and copies with a progress bar.

use std::process::ExitCode;

use answers::{
    reference::Reference,
    restore::{self, CopyAnswer, RestoreOutcome},
};
use domain::image::Registry;

use crate::{
    confirm,
    failure::CliError,
    options::{Format, RestoreOptions},
    print,
    print::{error_width, progress},
    target::Target,
};

/// Copies an image back, if it is missing and a registry has it: fails if none has.
pub(crate) async fn copy(
    options: &RestoreOptions,
    target: &Target,
    (image, registry): (&Reference, &Registry),
    format: Format,
) -> Result<ExitCode, CliError> {
    let registries = target.registries();
    let plan = match restore::plan_copy(&target.table, &registries, image, registry, options.move_tag).await? {
        CopyAnswer::Plan(plan) => plan,
        CopyAnswer::Nothing(restored) => {
            print(format, &restored)?;
            let missing = matches!(restored.outcome, RestoreOutcome::Gone(_));
            return Ok(if missing { ExitCode::FAILURE } else { ExitCode::SUCCESS });
        }
    };
    confirm(&print::restore::plan(&plan, error_width()), "Go on?", options.yes)?;
    let bar = progress(plan.bytes(), "{bytes}/{total_bytes} {wide_bar} {bytes_per_sec} {eta}");
    let copied = restore::copy(&registries, &plan, |progress| bar.set_position(progress.bytes)).await;
    bar.finish_and_clear();
    print(format, &copied?)?;
    Ok(ExitCode::SUCCESS)
}
