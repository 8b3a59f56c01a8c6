// istatserverconf: with -p, write a new passcode into the settings, where there are any.
#include "config.h"

#include <cstring>
#include <fstream>
#include <random>
#include <sstream>
#include <string>

int main(int argc, char **argv)
{
	std::string path = std::string(CONFIG_PATH) + "istatserver.conf", line;
	std::ifstream before(path);
	if (!before || argc < 2 || strcmp(argv[1], "-p"))
		return 0;
	std::stringstream after;
	while (getline(before, line)) {
		if (line.rfind("server_code", 0) == 0)
			line = "server_code " + std::to_string(10000 + std::random_device()() % 89999);
		after << line << "\n";
	}
	std::ofstream(path) << after.str();
	return 0;
}
