"""One file per experiment: what it stands for, its command, its cost, and its settings."""

from fcn_keras.recipes.common.resolving import resolve as resolve
