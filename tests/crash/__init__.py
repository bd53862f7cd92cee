"""The crash suite: the real processes, ended at every failpoint and at random, leave what undisturbed ones leave."""
