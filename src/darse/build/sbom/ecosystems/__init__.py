"""Who installs software, and where each writes down what is installed.

system   os-release(5), which the packages of distributions are named after
debian   dpkg's status file, and `status.d` of images without dpkg
alpine   apk's database
rpm      where its database is: it is not read, and the document says so
python   METADATA and PKG-INFO of installed distributions
node     package.json in node_modules
golang   what the Go linker writes into programs

Each module has a parser that works on text or bytes alone, and yields what can be read of it.
"""
