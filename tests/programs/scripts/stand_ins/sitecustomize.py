"""Let `keras.datasets` read files of the same arrays whose bytes are not those that Keras would download."""

import importlib.util
import sys


class _FileUtils:
    """Finds `keras.src.utils.file_utils` once, and lets it accept every hash."""

    name = "keras.src.utils.file_utils"

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def exec_module(module):
            execute(module)
            module.validate_file = lambda *args, **kwargs: True

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, _FileUtils())
