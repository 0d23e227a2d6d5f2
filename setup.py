"""Package metadata: everything is read from settings.ini, so that each fact stands in one place."""

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
settings = config["DEFAULT"]
extras = {name: settings[f"{name}_requirements"].split() for name in ("serve", "learn", "scale", "dev")}
links = {"Source": settings["git_url"], "Documentation": settings["doc_host"]}

setup(
    name=settings["lib_name"],
    version=settings["version"],
    description=settings["description"],
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    author=settings["author"],
    keywords=settings["keywords"],
    project_urls={label: address for label, address in links.items() if address},
    packages=find_packages(include=["mlops_course", "mlops_course.*"]),
    package_data={"mlops_course": ["py.typed"]},
    python_requires=f">={settings['min_python']}",
    install_requires=settings["requirements"].split(),
    extras_require=extras,
    entry_points={"console_scripts": settings["console_scripts"].split()},
)
