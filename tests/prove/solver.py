"""The solver cvc5 as a program, made of its Python package: SMT-LIB from standard input, answers on standard output.

The package has the library and the parser of cvc5, but not the program. Only the options that Cedar's symbolic compiler
uses are understood: `--lang smt`, `--tlimit=MILLISECONDS` and `--version`.
"""

import re
import sys

import cvc5


def new_solver(options: dict[str, str]) -> tuple[cvc5.Solver, cvc5.SymbolManager]:
    manager = cvc5.TermManager()
    solver = cvc5.Solver(manager)
    for name, value in options.items():
        solver.setOption(name, value)
    return solver, cvc5.SymbolManager(manager)


def main() -> int:
    limits = [option.removeprefix("--tlimit=") for option in sys.argv if option.startswith("--tlimit=")]
    options = {"tlimit-per": limit for limit in limits}
    solver, symbols = new_solver(options)
    if "--version" in sys.argv:
        print(f"This is cvc5 version {solver.getVersion().decode()}")
        return 0
    text = ""
    for line in sys.stdin:
        text += line
        # A command is whole when its parentheses are closed. Those in strings, quoted symbols and comments do not count.
        bare = re.sub(r'"(?:[^"]|"")*"|\|[^|]*\||;[^\n]*', "", text)
        if bare.count("(") != bare.count(")"):
            continue
        command, text = text, ""
        if command.strip() == "(reset)":
            solver, symbols = new_solver(options)
            continue
        parser = cvc5.InputParser(solver, symbols)
        parser.setStringInput(cvc5.InputLanguage.SMT_LIB_2_6, command, "standard input")
        try:
            while not (parsed := parser.nextCommand()).isNull():
                sys.stdout.write(parsed.invoke(solver, symbols))
                sys.stdout.flush()
        except RuntimeError as error:
            print(f'(error "Parse Error: {error}")', flush=True)
            return 1
    return 0


sys.exit(main())
