"""modelzoo verify: is a bundle sound, and does it answer as the model does."""

from __future__ import annotations

import argparse

from modelzoo.cli.common import add_trust, examples


def add_parser(subparsers: argparse._SubParsersAction) -> argparse.ArgumentParser:
    parser = subparsers.add_parser(
        "verify",
        description="Check a bundle: the hash of each file, the signatures, and a run of each. "
        "With --against, compare all its answers with the Keras model, as the export did.",
        epilog=examples(
            "modelzoo verify gpt.bundle", "modelzoo verify gpt.bundle --against runs/gpt"
        ),
    )
    parser.add_argument("bundle", metavar="BUNDLE", help="what `modelzoo export` wrote")
    parser.add_argument(
        "--against", metavar="DIR", help="the model directory that it was exported from"
    )
    add_trust(parser)
    return parser


def run(args: argparse.Namespace) -> int:
    from modelzoo.exporting.verification.soundness import check_bundle

    manifest = check_bundle(args.bundle, args.trust)
    files, signatures = manifest["files"], manifest["signatures"]
    print(
        f"{args.bundle}: sound; {len(files)} files have their hashes, and {', '.join(signatures)} "
        "run and give numbers"
    )
    if args.against is not None:
        from modelzoo.cli.elapsed import Steps
        from modelzoo.cli.export import figures
        from modelzoo.exporting import verify_bundle

        with Steps() as step:
            report = verify_bundle(args.bundle, args.against, progress=step, trust=args.trust)
        print(f"it answers as {args.against} does\n\n{figures(report.parity)}")
    return 0
