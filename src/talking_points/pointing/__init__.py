"""A photo and points or texts in, texts or points out: the describer, the localizer, both, and files of many."""
