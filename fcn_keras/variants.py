"""Names of the networks, apart from their code so that a command line can list them at once."""

VARIANTS = ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce")
