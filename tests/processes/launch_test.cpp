// What each launcher's variables say, by the launchers' own manuals.
#include "lamp/processes/launch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "lamp/base/errors.h"
#include "lamp/processes/slurm_lists.h"

namespace lamp {
namespace {

using ::testing::HasSubstr;
using Variables = std::map<std::string, std::string>;

std::optional<Launch> launch_of(const Variables& variables) {
  return read_launch(
      [&](const char* name) -> const char* {
        const auto found = variables.find(name);
        return found == variables.end() ? nullptr : found->second.c_str();
      },
      "node7");
}

std::string refusal_of(const Variables& variables) {
  try {
    launch_of(variables);
  } catch (const UsageError& error) {
    EXPECT_EQ(error.exit_code(), kExitUsage);
    return error.what();
  }
  return "accepted";
}

Variables with(Variables variables, const Variables& others) {
  for (const auto& [name, value] : others) variables[name] = value;
  return variables;
}

const Variables kTorchrun = {{"RANK", "3"},
                             {"WORLD_SIZE", "8"},
                             {"LOCAL_RANK", "1"},
                             {"LOCAL_WORLD_SIZE", "2"},
                             {"MASTER_ADDR", "node1"},
                             {"MASTER_PORT", "29400"},
                             {"TORCHELASTIC_RUN_ID", "run5"},
                             {"TORCHELASTIC_RESTART_COUNT", "2"},
                             {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
const Variables kOpenMpi = {{"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                            {"PMIX_NAMESPACE", "prterun-node7-99@1"}};
const Variables kSlurm = {{"SLURM_JOB_ID", "4711"},
                          {"SLURM_STEP_ID", "0"},
                          {"SLURM_PROCID", "2"},
                          {"SLURM_NTASKS", "5"},
                          {"SLURM_LOCALID", "0"},
                          {"SLURM_NODEID", "1"},
                          {"SLURM_STEP_TASKS_PER_NODE", "2(x2),1"},
                          {"SLURM_STEP_NODELIST", "gpu[07-09]"}};

TEST(LaunchTest, NoLauncherIsOneProcess) {
  EXPECT_FALSE(launch_of({}));
  EXPECT_FALSE(launch_of({{"RANK", "0"}, {"WORLD_SIZE", "1"}}));
  EXPECT_FALSE(launch_of({{"OMPI_COMM_WORLD_RANK", "0"}, {"OMPI_COMM_WORLD_SIZE", "1"}}));
  EXPECT_FALSE(launch_of({{"MASTER_ADDR", "node1"}, {"MASTER_PORT", "29500"}}));
}

TEST(LaunchTest, TorchrunSaysEverything) {
  const auto launch = launch_of(kTorchrun);
  ASSERT_TRUE(launch);
  EXPECT_EQ(launch->rank, 3);
  EXPECT_EQ(launch->world, 8);
  EXPECT_EQ(launch->local_rank, 1);
  EXPECT_EQ(launch->local_world, 2);
  EXPECT_EQ(launch->address, "node1");
  EXPECT_EQ(launch->port, 29400);
  EXPECT_TRUE(launch->uses_agent_store);
  EXPECT_EQ(launch->host, "node7");
  EXPECT_EQ(launch->token, "run5");
  EXPECT_EQ(launch->launcher, "torchrun");
  EXPECT_EQ(launch->restart_count, 2);
}

TEST(LaunchTest, VariablesSetByHandNeedNoLocalOnes) {
  const auto launch = launch_of(
      {{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "10.0.0.1"}, {"MASTER_PORT", "29500"}});
  ASSERT_TRUE(launch);
  EXPECT_EQ(launch->local_rank, 0);
  EXPECT_EQ(launch->local_world, 0);
  EXPECT_FALSE(launch->uses_agent_store);
  EXPECT_EQ(launch->token, "");
}

TEST(LaunchTest, OpenMpiOnOneMachineMeetsThere) {
  const auto launch = launch_of(kOpenMpi);
  ASSERT_TRUE(launch);
  EXPECT_EQ(launch->rank, 1);
  EXPECT_EQ(launch->world, 2);
  EXPECT_EQ(launch->local_rank, 1);
  EXPECT_EQ(launch->address, "127.0.0.1");
  EXPECT_EQ(launch->launcher, "Open MPI");
  EXPECT_GE(launch->port, 20000);
  EXPECT_LT(launch->port, 30000);
}

TEST(LaunchTest, ThePortFollowsFromTheJob) {
  const auto other = launch_of(with(kOpenMpi, {{"PMIX_NAMESPACE", "prterun-node7-100@1"}}));
  EXPECT_NE(launch_of(kOpenMpi)->port, other->port);
  EXPECT_EQ(launch_of(kOpenMpi)->port,
            launch_of(with(kOpenMpi, {{"OMPI_COMM_WORLD_RANK", "0"}}))->port);
  EXPECT_EQ(launch_of(with(kOpenMpi, {{"PMIX_NAMESPACE", ""}}))->port, 29500);
  EXPECT_EQ(launch_of(with(kOpenMpi, {{"MASTER_PORT", "1234"}}))->port, 1234);
}

TEST(LaunchTest, OpenMpiOverMachinesNeedsAnAddress) {
  const Variables two =
      with(kOpenMpi, {{"OMPI_COMM_WORLD_LOCAL_SIZE", "1"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "0"}});
  EXPECT_THAT(refusal_of(two),
              HasSubstr("Open MPI started this process, but MASTER_ADDR is not set"));
  EXPECT_EQ(launch_of(with(two, {{"MASTER_ADDR", "node3"}}))->address, "node3");
}

TEST(LaunchTest, MpichSaysItsRanks) {
  const auto launch = launch_of(
      {{"PMI_RANK", "1"}, {"PMI_SIZE", "4"}, {"MPI_LOCALRANKID", "1"}, {"MPI_LOCALNRANKS", "4"}});
  ASSERT_TRUE(launch);
  EXPECT_EQ(launch->rank, 1);
  EXPECT_EQ(launch->local_rank, 1);
  EXPECT_EQ(launch->launcher, "MPICH");
  EXPECT_EQ(launch->address, "127.0.0.1");
}

TEST(LaunchTest, SrunMeetsAtTheFirstHost) {
  const auto launch = launch_of(kSlurm);
  ASSERT_TRUE(launch);
  EXPECT_EQ(launch->rank, 2);
  EXPECT_EQ(launch->world, 5);
  EXPECT_EQ(launch->local_rank, 0);
  EXPECT_EQ(launch->local_world, 2);
  EXPECT_EQ(launch->address, "gpu07");
  EXPECT_EQ(launch->token, "4711.0");
  EXPECT_EQ(launch->launcher, "Slurm");
  EXPECT_EQ(launch_of(with(kSlurm, {{"MASTER_ADDR", "10.1.1.1"}}))->address, "10.1.1.1");
}

TEST(LaunchTest, ABatchScriptIsOneProcess) {
  Variables batch = kSlurm;
  batch.erase("SLURM_STEP_ID");
  EXPECT_FALSE(launch_of(batch));
  EXPECT_FALSE(launch_of(with(kSlurm, {{"SLURM_STEP_ID", "4294967291"}})));  // the batch step
  EXPECT_FALSE(launch_of(with(kSlurm, {{"SLURM_STEP_ID", "4294967290"}})));  // an interactive one
}

TEST(LaunchTest, AStepOfOneTaskIsOneProcess) {
  EXPECT_FALSE(launch_of(with(kSlurm, {{"SLURM_STEP_NUM_TASKS", "1"}, {"SLURM_PROCID", "0"}})));
}

TEST(LaunchTest, TorchrunCountsBeforeTheSrunThatStartedIt) {
  EXPECT_EQ(launch_of(with(kSlurm, kTorchrun))->launcher, "torchrun");
  EXPECT_FALSE(launch_of(with(kSlurm, {{"RANK", "0"}, {"WORLD_SIZE", "1"}})));
}

TEST(LaunchTest, HalfSetVariablesAreNamed) {
  for (const char* name : {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}) {
    Variables half = kTorchrun;
    half.erase(name);
    EXPECT_THAT(refusal_of(half), HasSubstr(std::string("torchrun started this process, but ") +
                                            name + " is not set"));
  }
  Variables half = kOpenMpi;
  half.erase("OMPI_COMM_WORLD_SIZE");
  EXPECT_THAT(refusal_of(half), HasSubstr("OMPI_COMM_WORLD_SIZE is not set"));
  half = kSlurm;
  half.erase("SLURM_PROCID");
  EXPECT_THAT(refusal_of(half), HasSubstr("SLURM_PROCID is not set"));
}

TEST(LaunchTest, NonsenseIsNamed) {
  const auto refused = [](const char* name, const char* value) {
    const std::string text = refusal_of(with(kTorchrun, {{name, value}}));
    EXPECT_THAT(text, HasSubstr(std::string(name) + "=" + value));
    EXPECT_THAT(text, HasSubstr("torchrun"));
    return text;
  };
  EXPECT_THAT(refused("RANK", "8"), HasSubstr("from 0 to 7"));
  refused("RANK", "-1");
  refused("RANK", "two");
  refused("RANK", "1x");
  refused("WORLD_SIZE", "0");
  refused("WORLD_SIZE", "99999999999999999999");
  EXPECT_THAT(refused("LOCAL_RANK", "2"), HasSubstr("from 0 to 1"));
  EXPECT_THAT(refused("LOCAL_WORLD_SIZE", "9"), HasSubstr("from 1 to 8"));
  EXPECT_THAT(refused("MASTER_PORT", "65536"), HasSubstr("from 1 to 65535"));
  refused("MASTER_PORT", "0");
}

TEST(SlurmListsTest, TheFirstHostOfEveryForm) {
  const std::map<std::string, std::string> firsts = {
      {"node1", "node1"},   {"node[01-04,07],other", "node01"}, {"other,node[01-04]", "other"},
      {"n[9,12-20]", "n9"}, {"r[1-2]n[03-04]", "r1n03"},        {"a-b.c[5]-ib", "a-b.c5-ib"}};
  for (const auto& [list, first] : firsts) EXPECT_EQ(first_host(list, "L"), first) << list;
}

TEST(SlurmListsTest, WhatIsNoListIsRefused) {
  for (const std::string list : {"", "node[", "node[a]", "node]1[", "a b", ",node", "node[1-]"})
    EXPECT_THROW(first_host(list, "SLURM_JOB_NODELIST"), UsageError) << list;
  EXPECT_THROW(first_host(std::string(100000, 'n'), "SLURM_JOB_NODELIST"), UsageError);
}

TEST(SlurmListsTest, TasksOfEachNode) {
  EXPECT_EQ(tasks_on_node("4", 0), 4);
  EXPECT_EQ(tasks_on_node("2(x3),1", 2), 2);
  EXPECT_EQ(tasks_on_node("2(x3),1", 3), 1);
  EXPECT_EQ(tasks_on_node("2(x3),1", 4), 0);
  EXPECT_EQ(tasks_on_node("", 0), 0);
}

}  // namespace
}  // namespace lamp
