"""The study: DLStudio's report reproduced, explained and taken further. See scripts.study.plan."""
