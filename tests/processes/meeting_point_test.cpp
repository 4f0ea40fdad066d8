// Addresses, and sockets of this machine.
#include "lamp/processes/meeting_point.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lamp/base/errors.h"
#include "lamp/processes/text_list.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;

sockaddr_in address_of(int socket) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length);
  return address;
}

template <typename Call>
std::string error_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(MeetingPointTest, ListensAtItsAddressAloneUnlessOthersMustReachIt) {
  const int alone = bound_socket("127.0.0.1", 0, false);
  EXPECT_EQ(ntohl(address_of(alone).sin_addr.s_addr), INADDR_LOOPBACK);
  const int everywhere = bound_socket("127.0.0.1", 0, true);
  EXPECT_EQ(ntohl(address_of(everywhere).sin_addr.s_addr), INADDR_ANY);
  close(alone);
  close(everywhere);
}

TEST(MeetingPointTest, ATakenPortIsNamed) {
  const int taken = bound_socket("127.0.0.1", 0, false);
  const int port = ntohs(address_of(taken).sin_port);
  const std::string text = error_of([&] { bound_socket("127.0.0.1", port, false); });
  EXPECT_THAT(text, HasSubstr("127.0.0.1:" + std::to_string(port) + ": the port is taken"));
  EXPECT_THAT(text, HasSubstr("MASTER_PORT"));
  close(taken);
}

TEST(MeetingPointTest, AnotherMachinesAddressIsNamed) {
  // 192.0.2.0/24 is kept for documentation: no machine has it.
  const std::string text = error_of([] { bound_socket("192.0.2.1", 29500, false); });
  EXPECT_THAT(text, HasSubstr("192.0.2.1:29500: that is not an address of its machine"));
  EXPECT_THAT(error_of([] { numeric_address("no-such-machine.invalid", 29500); }),
              HasSubstr("cannot find the machine no-such-machine.invalid"));
}

TEST(MeetingPointTest, OwnAddressIsThatOfTheWayThere) {
  EXPECT_EQ(own_address_towards("127.0.0.1", 29500), "127.0.0.1");
  EXPECT_EQ(numeric_address("127.0.0.1", 29500), "127.0.0.1");
}

TEST(MeetingPointTest, ProcessesBesideRank0AreReachedWhereOthersReachRank0) {
  // Debian writes a machine's own name into /etc/hosts as 127.0.1.1.
  const std::vector<Presence> all = {{"a", "127.0.0.1", "127.0.1.1"},
                                     {"a", "127.0.0.1", "127.0.1.1"},
                                     {"b", "10.0.0.2", "10.0.0.1"}};
  EXPECT_EQ(reachable_address(all, 0), "10.0.0.1");
  EXPECT_EQ(reachable_address(all, 1), "10.0.0.1");
  EXPECT_EQ(reachable_address(all, 2), "10.0.0.2");
  EXPECT_EQ(reachable_address({all[0], all[1]}, 1), "127.0.0.1");
}

TEST(MeetingPointTest, PlacesAreWrittenAsUsual) {
  EXPECT_EQ(place_text("node1", 29500), "node1:29500");
  EXPECT_EQ(place_text("::1", 29500), "[::1]:29500");
}

TEST(TextListTest, TextsComeBack) {
  const std::vector<std::string> texts = {"", "one", "5:three", std::string("\0\n:", 3)};
  EXPECT_EQ(packed_texts({"one", "5:three"}), "3:one7:5:three");
  EXPECT_EQ(unpacked_texts(packed_texts(texts)), texts);
  EXPECT_TRUE(unpacked_texts("").empty());
  for (const std::string bad : {"x", "3", "3:ab", "-1:a", "99999999999999999999:a", ":"})
    EXPECT_THROW(unpacked_texts(bad), Error) << bad;
}

}  // namespace
}  // namespace lamp
